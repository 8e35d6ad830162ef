/* main.c - veredus in the simulator: many seeds, each in a process of its own, as many at a time as there are cores.
 *
 *     simulate [--seeds N] [--from SEED] [--messages N] [--faults none|network,kills,…|all] [--quiet] [--first] [--plain]
 *     simulate --seed SEED [--messages N] [--faults …] [--verbose]
 *
 * What goes wrong in a run is drawn from its seed, unless --faults says it. A failure prints its seed, the shortest run that fails as well, and
 * that run's events about the mail in question (shrink.c). --quiet: failures only. --first: up to the first failure. --plain: a failing run
 * is not made shorter.
 */
#include "world.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNNING_MAX 64
#define SHRUNK_MAX  3

struct options {
    uint64_t from;
    unsigned seeds, messages;
    const char *faults;
    bool verbose, quiet, first, plain;
};

static void draw(struct scenario *s)
{
    uint64_t kind = s->seed % 8;
    s->network = kind != 0;
    s->dns = kind != 0;
    s->kills = kind == 2 || kind >= 4;
    s->power = kind == 3 || kind >= 5;
    s->disk = kind == 6 || kind == 7;
    s->reloads = kind == 1 || kind == 7;
}

static const struct {
    const char *name;
    size_t at;
} flags[] = {
    {"network", offsetof(struct scenario, network)}, {"kills", offsetof(struct scenario, kills)},
    {"power", offsetof(struct scenario, power)},     {"disk", offsetof(struct scenario, disk)},
    {"dns", offsetof(struct scenario, dns)},         {"reloads", offsetof(struct scenario, reloads)}};
#define FLAGS (sizeof flags / sizeof *flags)

static void take_faults(struct scenario *s, const char *list)
{
    for (size_t i = 0; i < FLAGS; i++)
        *((bool *)((char *)s + flags[i].at)) =
            strstr(list, flags[i].name) != NULL || strcmp(list, "all") == 0;
}

void scenario_print(const struct scenario *s)
{
    bool any = false;
    for (size_t i = 0; i < FLAGS; i++)
        if (*((const bool *)((const char *)s + flags[i].at))) {
            printf("%s%s", any ? "," : "", flags[i].name);
            any = true;
        }
    if (!any)
        printf("none");
}

static struct scenario scenario_of(const struct options *o, uint64_t seed)
{
    struct scenario s = {.seed = seed, .messages = o->messages, .verbose = o->verbose};
    draw(&s);
    if (o->faults != NULL)
        take_faults(&s, o->faults);
    return s;
}

static int run_one(const struct options *o, uint64_t seed)
{
    struct scenario s = scenario_of(o, seed);
    unsigned bad = world_run(&s);
    if (bad == 0 && o->quiet)
        return 0;
    printf("seed %llu (", (unsigned long long)seed);
    scenario_print(&s);
    printf("): %u acknowledged, %u of strangers, %u delivered, %u reported, %u twice, %u kills, %u power "
           "losses, %u signals, "
           "slowest %.1f s; %.0f s, "
           "%llu events, digest %016llx%s\n",
           tally.acknowledged, tally.strangers, tally.delivered, tally.reported, tally.duplicates,
           tally.kills, tally.power_losses, tally.reloads, (double)tally.slowest_us / 1e6,
           (double)sim_now_us() / 1e6, (unsigned long long)sim_events(), (unsigned long long)sim_digest(),
           bad > 0 ? " FAILED" : "");
    fflush(stdout);
    return bad > 0;
}

static unsigned cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n > RUNNING_MAX ? RUNNING_MAX : (unsigned)n;
}

static int run_many(const struct options *o)
{
    struct {
        pid_t pid;
        uint64_t seed;
    } running[RUNNING_MAX] = {0};
    unsigned started = 0, ended = 0, failed = 0, most = cores();
    while (ended < o->seeds && (failed == 0 || !o->first)) {
        for (unsigned i = 0; i < most && started < o->seeds; i++) {
            if (running[i].pid != 0)
                continue;
            running[i].seed = o->from + started++;
            running[i].pid = fork();
            if (running[i].pid == 0)
                _exit(run_one(o, running[i].seed));
        }
        int status;
        pid_t pid = wait(&status);
        for (unsigned i = 0; i < most; i++) {
            if (pid <= 0 || running[i].pid != pid)
                continue;
            running[i].pid = 0;
            ended++;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                continue;
            failed++;
            printf("FAILED   seed %llu%s\n", (unsigned long long)running[i].seed,
                   WIFSIGNALED(status) ? " (it crashed)" : "");
            fflush(stdout);
            if (failed > SHRUNK_MAX || o->plain)
                continue; /* the first ones tell the most */
            struct scenario s = scenario_of(o, running[i].seed);
            shrink(&s);
        }
    }
    printf("%u passed, %u failed\n", ended - failed, failed);
    return failed > 0;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"seeds", 1, NULL, 'n'},    {"from", 1, NULL, 'f'},
                                          {"messages", 1, NULL, 'm'}, {"seed", 1, NULL, 's'},
                                          {"faults", 1, NULL, 'x'},   {"verbose", 0, NULL, 'v'},
                                          {"quiet", 0, NULL, 'q'},    {"first", 0, NULL, '1'},
                                          {"plain", 0, NULL, 'p'},    {NULL, 0, NULL, 0}};
    struct options o = {.from = 1, .seeds = 8, .messages = 1000};
    bool one = false;
    int c;
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (c == 'n')
            o.seeds = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'f' || c == 's')
            o.from = strtoull(optarg, NULL, 10), one = c == 's';
        else if (c == 'm')
            o.messages = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'x')
            o.faults = optarg;
        else if (c == 'v')
            o.verbose = true;
        else if (c == 'q')
            o.quiet = true;
        else if (c == '1')
            o.first = true;
        else if (c == 'p')
            o.plain = true;
        else { /* getopt_long has said which one it does not know */
            fprintf(stderr, "simulate: see script/simulate --help\n");
            return 64;
        }
    }
    return one ? run_one(&o, o.from) : run_many(&o);
}
