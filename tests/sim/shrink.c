/* shrink.c - from a failing run to the shortest one that still fails, and from that to the lines that tell why.
 *
 * Each trial is a run of its own in a process of its own; a run is a function of its seed, so a trial that fails fails again.
 */
#include "world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGES_LEAST 10
#define IDS_MAX        16
#define ID_TEXT        13
#define LINES_SHOWN    80
#define LINE_MAX_SHOWN 400

static bool *flag(struct scenario *s, unsigned i)
{
    bool *const flags[] = {&s->network, &s->dns, &s->disk, &s->reloads, &s->power, &s->kills};
    return i < sizeof flags / sizeof *flags ? flags[i] : NULL;
}

/* Its output goes to `out`. Does it fail? */
static bool trial(const struct scenario *s, FILE *out)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fileno(out), STDOUT_FILENO);
        unsigned bad = world_run(s);
        fflush(stdout);
        _exit(bad > 0);
    }
    int status = 0;
    assert(pid > 0 && waitpid(pid, &status, 0) == pid);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool fails(const struct scenario *s)
{
    FILE *nowhere = fopen("/dev/null", "w");
    assert(nowhere != NULL);
    bool bad = trial(s, nowhere);
    fclose(nowhere);
    return bad;
}

static void fewer_messages(struct scenario *s)
{
    for (unsigned cut = s->messages / 2; cut >= MESSAGES_LEAST / 2 && cut > 0; cut /= 2) {
        struct scenario less = *s;
        less.messages -= cut;
        while (less.messages >= MESSAGES_LEAST && fails(&less)) {
            *s = less;
            if (less.messages <= cut)
                break;
            less.messages -= cut;
        }
    }
}

static void fewer_faults(struct scenario *s)
{
    for (unsigned i = 0; flag(s, i) != NULL; i++) {
        struct scenario less = *s;
        if (!*flag(&less, i))
            continue;
        *flag(&less, i) = false;
        if (fails(&less))
            *s = less;
    }
}

/* ---- the trace ----------------------------------------------------------------------------------------------------------------- */

struct keys {
    char address[90]; /* "m62.0": in lines about the recipient; empty: unknown */
    char ids[IDS_MAX][ID_TEXT + 1];
    unsigned count;
};

/* Whom does the violation speak of? */
static void key_of(struct keys *k, const char *line)
{
    unsigned id, n;
    const char *at = strstr(line, "<");
    if (at != NULL)
        at = strchr(at, '+') != NULL ? strchr(at, '+') : at;
    if (at != NULL && sscanf(at + 1, "m%u.%u", &id, &n) == 2)
        snprintf(k->address, sizeof k->address, "m%u.%u", id, n);
    else if ((at = strstr(line, "mail ")) != NULL && sscanf(at, "mail %u", &id) == 1)
        snprintf(k->address, sizeof k->address, "m%u.", id);
}

static bool has_id(const struct keys *k, const char *line)
{
    for (unsigned i = 0; i < k->count; i++)
        if (strstr(line, k->ids[i]) != NULL)
            return true;
    return false;
}

static void take_id(struct keys *k, const char *line)
{
    const char *at = strstr(line, " id=");
    if (at == NULL || strlen(at + 4) < ID_TEXT || k->count == IDS_MAX || has_id(k, line))
        return;
    memcpy(k->ids[k->count], at + 4, ID_TEXT);
    k->ids[k->count++][ID_TEXT] = '\0';
}

static bool tells(const struct keys *k, const char *line)
{
    return strncmp(line, "--- ", 4) == 0 || strstr(line, "VIOLATION") != NULL ||
           (k->address[0] != '\0' && strstr(line, k->address) != NULL) || has_id(k, line) ||
           strstr(line, " process.") != NULL || strstr(line, " queue.") != NULL ||
           strstr(line, " log.") != NULL || strstr(line, " server.") != NULL;
}

static void show(FILE *f)
{
    static char line[65536];
    struct keys k = {.count = 0};
    while (k.address[0] == '\0' && fgets(line, sizeof line, f) != NULL)
        if (strstr(line, "VIOLATION") != NULL)
            key_of(&k, line);
    rewind(f);
    while (k.address[0] != '\0' && fgets(line, sizeof line, f) != NULL)
        if (strstr(line, k.address) != NULL)
            take_id(&k, line);
    unsigned long count = 0, at = 0;
    rewind(f);
    bool ended = false; /* what comes behind the first violation explains nothing */
    while (!ended && fgets(line, sizeof line, f) != NULL) {
        count += tells(&k, line);
        ended = strstr(line, "VIOLATION") != NULL;
    }
    rewind(f);
    while (at < count && fgets(line, sizeof line, f) != NULL) {
        if (!tells(&k, line) || at++ + LINES_SHOWN < count)
            continue;
        line[strcspn(line, "\n")] = '\0';
        printf("    %.*s\n", LINE_MAX_SHOWN, line);
    }
}

void shrink(const struct scenario *failing)
{
    struct scenario s = *failing;
    s.verbose = false;
    fewer_messages(&s);
    fewer_faults(&s);
    fewer_messages(&s);
    printf("the shortest run that fails: simulate --seed %llu --messages %u --faults ",
           (unsigned long long)s.seed, s.messages);
    scenario_print(&s);
    printf("\n");
    FILE *f = tmpfile();
    assert(f != NULL);
    s.verbose = true;
    trial(&s, f);
    rewind(f);
    show(f);
    fclose(f);
    fflush(stdout);
}
