/* sendmail_options.c - see sendmail.h. What programs have passed to sendmail(1) for forty years: done, or taken and without effect.
 *
 * Tests: tests/unit/sendmail_parse.c
 */
#include "cli/sendmail.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

/* Every letter that callers use. '-' in `effect`: taken, and of no effect here (queueing modes, error modes, hop counts, logs). */
static const char letters[] = "A:B:C:F:GIL:N:O:R:UV:X:b:d::e:f:h:imno:p:q::r:tvx";
static const char without_effect[] = "AGLOUXdehmnpx";

static int wrong(char error[256], const char *what, const char *why)
{
    snprintf(error, 256, "%s: %s", what, why);
    return EX_USAGE;
}

static int take_mode(struct sendmail_options *o, const char *mode, char error[256])
{
    static const struct {
        char letter;
        enum sendmail_mode mode;
    } modes[] = {
        {'m', SENDMAIL_DELIVER}, {'s', SENDMAIL_SMTP}, {'p', SENDMAIL_LIST}, {'i', SENDMAIL_ALIASES}};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (mode[0] == modes[i].letter && mode[1] == '\0') {
            o->mode = modes[i].mode;
            return 0;
        }
    char what[32];
    snprintf(what, sizeof what, "-b%.20s", mode);
    if (strcmp(mode, "d") == 0 || strcmp(mode, "D") == 0)
        return wrong(error, what, "the server is started with `veredus serve` (systemctl start veredus)");
    return wrong(
        error, what,
        "there is no such mode; -bm delivers, -bs speaks SMTP, -bp lists the queue, -bi checks the aliases");
}

static int take_flush(struct sendmail_options *o, const char *what, char error[256])
{
    o->mode = SENDMAIL_FLUSH;
    if (what == NULL)
        return 0;
    if (strchr("IRS", what[0]) == NULL || what[1] == '\0')
        return wrong(error, "-q",
                     "the server retries by its own schedule; -q retries all now, -qI<id>, -qR<domain>, "
                     "-qS<sender> some");
    o->flush_by = what[0];
    o->flush_what = what + 1;
    return 0;
}

static int take_notify(struct sendmail_options *o, const char *words, char error[256])
{
    char upper[64];
    size_t n = strlen(words);
    if (n >= sizeof upper)
        return wrong(error, "-N", "takes never, or some of success,failure,delay");
    for (size_t i = 0; i <= n; i++)
        upper[i] = (char)(words[i] >= 'a' && words[i] <= 'z' ? words[i] - 'a' + 'A' : words[i]);
    return dsn_notify_parse(vr_str(upper, n), &o->notify) == VR_OK
               ? 0
               : wrong(error, "-N", "takes never, or some of success,failure,delay");
}

static int take_return(struct sendmail_options *o, const char *word, char error[256])
{
    if (strcmp(word, "full") == 0 || strcmp(word, "hdrs") == 0) {
        o->ret = word[0] == 'f' ? DSN_RET_FULL : DSN_RET_HDRS;
        return 0;
    }
    return wrong(error, "-R", "takes full or hdrs: what of the message a report returns");
}

static int take_body(struct sendmail_options *o, const char *word, char error[256])
{
    o->declared_8bit = vr_str_equal_nocase(vr_str_from(word), VR_STR("8BITMIME"));
    return o->declared_8bit || vr_str_equal_nocase(vr_str_from(word), VR_STR("7BIT"))
               ? 0
               : wrong(error, "-B", "takes 7BIT or 8BITMIME");
}

/* -oi and its many kin. */
static int take_old_option(struct sendmail_options *o, const char *word)
{
    if (strcmp(word, "i") == 0)
        o->dot_is_text = true;
    else if (strcmp(word, "t") == 0)
        o->take_recipients = true;
    else if (strcmp(word, "v") == 0)
        o->verbose = true;
    return 0; /* error and delivery modes: -oem, -odi, … */
}

static int take(struct sendmail_options *o, int letter, const char *argument, char error[256])
{
    switch (letter) {
    case 'B':
        return take_body(o, argument, error);
    case 'C':
        o->config = argument;
        return 0;
    case 'F':
        o->full_name = argument;
        return 0;
    case 'I':
        o->mode = SENDMAIL_ALIASES;
        return 0;
    case 'N':
        return take_notify(o, argument, error);
    case 'R':
        return take_return(o, argument, error);
    case 'V':
        o->envid = argument;
        return 0;
    case 'b':
        return take_mode(o, argument, error);
    case 'f':
    case 'r':
        o->sender = argument;
        return 0;
    case 'i':
        o->dot_is_text = true;
        return 0;
    case 'o':
        return take_old_option(o, argument);
    case 'q':
        return take_flush(o, argument, error);
    case 't':
        o->take_recipients = true;
        return 0;
    case 'v':
        o->verbose = true;
        return 0;
    default:
        return 0;
    }
}

int sendmail_parse(int argc, char **argv, struct sendmail_options *out, char error[256])
{
    *out = (struct sendmail_options){.mode = SENDMAIL_DELIVER};
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0) {
            out->mode = SENDMAIL_USAGE;
            return 0;
        }
    optind = 0;
    opterr = 0;
    for (int letter; (letter = getopt(argc, argv, letters)) != -1;) {
        char what[3] = {'-', (char)optopt, '\0'};
        if (letter == '?')
            return wrong(error, what,
                         strchr(letters, optopt) != NULL && optopt != ':' ? "its argument is missing"
                                                                          : "there is no such option");
        int code = strchr(without_effect, letter) != NULL ? 0 : take(out, letter, optarg, error);
        if (code != 0)
            return code;
    }
    opterr = 1;
    out->recipients = argv + optind;
    out->recipient_count = argc - optind;
    return 0;
}
