/* main.c - veredus in the simulator: many seeds, each in a process of its own, as many at a time as there are cores.
 *
 *     simulate [--seeds N] [--from SEED] [--messages N] [--seed SEED [--verbose]] [--faults none|network|kills|all|…]
 *
 * What goes wrong in a run is drawn from its seed, unless --faults says it. A failure prints its seed; `--seed SEED --verbose` shows
 * everything that the server said on the way there.
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

struct options {
    uint64_t from;
    unsigned seeds, messages;
    const char *faults;
    bool verbose;
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

static void take_faults(struct scenario *s, const char *list)
{
    static const struct {
        const char *name;
        size_t at;
    } flags[] = {{"network", offsetof(struct scenario, network)}, {"kills", offsetof(struct scenario, kills)},
                 {"power", offsetof(struct scenario, power)},     {"disk", offsetof(struct scenario, disk)},
                 {"dns", offsetof(struct scenario, dns)},         {"reloads", offsetof(struct scenario, reloads)}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        *((bool *)((char *)s + flags[i].at)) = strstr(list, flags[i].name) != NULL || strcmp(list, "all") == 0;
}

static int run_one(const struct options *o, uint64_t seed)
{
    struct scenario s = {.seed = seed, .messages = o->messages, .verbose = o->verbose};
    draw(&s);
    if (o->faults != NULL)
        take_faults(&s, o->faults);
    unsigned bad = world_run(&s);
    printf("seed %llu: %s%s%s%s%s%s: %u acknowledged, %u delivered, %u reported, %u twice, %u kills, %u power losses, %u signals, %.0f s, "
           "%llu events, digest %016llx%s\n",
           (unsigned long long)seed, s.network ? "network " : "", s.dns ? "dns " : "", s.kills ? "kills " : "", s.power ? "power " : "",
           s.disk ? "disk " : "", s.reloads ? "reloads " : "", tally.acknowledged, tally.delivered, tally.reported, tally.duplicates,
           tally.kills, tally.power_losses, tally.reloads, (double)sim_now_us() / 1e6, (unsigned long long)sim_events(),
           (unsigned long long)sim_digest(), bad > 0 ? " FAILED" : "");
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
    while (ended < o->seeds) {
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
            printf("FAILED   seed %llu%s; again: simulate --seed %llu --messages %u --verbose\n", (unsigned long long)running[i].seed,
                   WIFSIGNALED(status) ? " (it crashed)" : "", (unsigned long long)running[i].seed, o->messages);
            fflush(stdout);
        }
    }
    printf("%u passed, %u failed\n", ended - failed, failed);
    return failed > 0;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"seeds", 1, NULL, 'n'},    {"from", 1, NULL, 'f'},   {"messages", 1, NULL, 'm'},
                                          {"seed", 1, NULL, 's'},     {"faults", 1, NULL, 'x'}, {"verbose", 0, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
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
        else
            return 64;
    }
    return one ? run_one(&o, o.from) : run_many(&o);
}
