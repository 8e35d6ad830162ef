/* dkim_options.c - the command line of `veredus dkim`.
 *
 * Tests: tests/e2e/test_sign.py
 */
#include "cli/cli.h"
#include "cli/dkim_inside.h"

#include "io/env.h"

#include <getopt.h>
#include <string.h>
#include <sysexits.h>

#define DAY      86400
#define TIME_MAX (3650 * (int64_t)DAY)

void dkim_usage(FILE *out)
{
    fputs("usage: veredus dkim keygen DOMAIN [--selector S] [--algorithm rsa|ed25519|both] [--bits N] "
          "[--after TIME]\n"
          "       veredus dkim import DOMAIN --selector S --key FILE\n"
          "       veredus dkim rotate DOMAIN [--algorithm rsa|ed25519|both] [--bits N] [--after TIME] "
          "[--keep TIME]\n"
          "       veredus dkim activate DOMAIN [--selector S] [--keep TIME]\n"
          "       veredus dkim remove DOMAIN --selector S|--retired [--force]\n"
          "       veredus dkim record DOMAIN [--selector S]\n"
          "       veredus dkim list [DOMAIN] [--json]\n\n"
          "  --selector S      the name of the key; without it one with the date is chosen\n"
          "  --algorithm A     what is made: rsa (the default of keygen), ed25519, or both: two signatures\n"
          "  --bits N          of RSA: 2048 (the default) to 4096\n"
          "  --key FILE        a private key in PEM, as of OpenDKIM or rspamd\n"
          "  --after TIME      the new key signs after so long, by itself: 2d, 12h; without it keygen's "
          "first key\n"
          "                    signs at once, and a key of `rotate` waits for `activate`\n"
          "  --keep TIME       the record of the key that is replaced stays needed for so long (7d)\n"
          "  --retired         all keys whose record may go\n"
          "  --force           also a key that signs\n"
          "  --json            the list as JSON\n"
          "  --config FILE     where to read the \"state\" folder from (default " CONFIG_DEFAULT_PATH ")\n"
          "  --state DIR       the \"state\" folder itself; keys are in its folder " DKIM_STORE_FOLDER "\n",
          out);
}

static bool read_time(const char *text, int64_t *seconds)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', DAY}};
    struct vr_str s = vr_str_from(text);
    uint64_t n;
    if (s.n < 2 || !vr_str_to_u64(vr_str_sub(s, 0, s.n - 1), &n) || n > (uint64_t)TIME_MAX)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (s.p[s.n - 1] == units[i].unit) {
            *seconds = (int64_t)n * units[i].seconds;
            return *seconds <= TIME_MAX;
        }
    return false;
}

static bool read_algorithms(const char *text, unsigned *out)
{
    static const struct {
        const char *word;
        unsigned bits;
    } words[] = {{"rsa", DKIM_RSA}, {"ed25519", DKIM_ED25519}, {"both", DKIM_RSA | DKIM_ED25519}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i].word) == 0)
            *out = words[i].bits;
    return *out != 0;
}

static bool read_bits(const char *text, unsigned *out)
{
    uint64_t n;
    if (!vr_str_to_u64(vr_str_from(text), &n) || n < DKIM_BITS_NEW || n > DKIM_BITS_MOST || n % 8 != 0)
        return false;
    *out = (unsigned)n;
    return true;
}

/* 0, or the exit code after having said why. */
static int read_option(struct dkim_arguments *a, int o)
{
    if (o == 'a' && !read_algorithms(optarg, &a->algorithms))
        return cli_wrong_usage(DKIM_SELF, "--algorithm is rsa, ed25519 or both, not \"%s\"", optarg);
    if (o == 'b' && !read_bits(optarg, &a->bits))
        return cli_wrong_usage(
            DKIM_SELF, "--bits is from 2048 (less is not accepted everywhere, RFC 8301) to 4096, not \"%s\"",
            optarg);
    if (o == 'A' && !read_time(optarg, &a->after))
        return cli_wrong_usage(DKIM_SELF, "--after wants a time with its unit, such as 2d or 12h, not \"%s\"",
                               optarg);
    if (o == 'K' && !read_time(optarg, &a->keep))
        return cli_wrong_usage(DKIM_SELF, "--keep wants a time with its unit, such as 7d, not \"%s\"",
                               optarg);
    if (o == 's')
        a->selector = optarg;
    else if (o == 'k')
        a->key_file = optarg;
    else if (o == 'j')
        a->json = true;
    else if (o == 'r')
        a->retired = true;
    else if (o == 'f')
        a->force = true;
    else if (o == 'c')
        a->state.config_path = optarg, a->state.config_given = true;
    else if (o == 'd')
        a->state.folder = optarg;
    return 0;
}

/* -1: go on; else the exit code. */
int dkim_read_options(int argc, char **argv, struct dkim_arguments *a)
{
    static const struct option options[] = {{"selector", required_argument, NULL, 's'},
                                            {"algorithm", required_argument, NULL, 'a'},
                                            {"bits", required_argument, NULL, 'b'},
                                            {"key", required_argument, NULL, 'k'},
                                            {"after", required_argument, NULL, 'A'},
                                            {"keep", required_argument, NULL, 'K'},
                                            {"retired", no_argument, NULL, 'r'},
                                            {"force", no_argument, NULL, 'f'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"state", required_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    *a = (struct dkim_arguments){
        .state = {.self = DKIM_SELF, .config_path = CONFIG_DEFAULT_PATH}, .after = -1, .keep = -1};
    a->now = io_env_clock_us() / 1000000;
    optind = 0;
    for (int o; (o = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        if (o == 'h') {
            dkim_usage(stdout);
            return EX_OK;
        }
        if (o == '?')
            return cli_wrong_option(argv[0]);
        int code = read_option(a, o);
        if (code != 0)
            return code;
    }
    return -1;
}
