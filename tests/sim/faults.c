/* faults.c - the course of a run: the server starts, mail comes, things go wrong; then all is well again, and each promise is looked at. */
#include "world.h"

#include "config/config.h"
#include "io/fs.h"
#include "supervisor/supervisor.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define SECOND     1000000ll
#define LOAD_MAX   (3600 * SECOND)      /* virtual time for the load */
#define SETTLE_MAX (3 * 86400 * SECOND) /* and for what it left */
#define IDLE_US    (15 * 60 * SECOND)
#define QUEUE_MEMORY                                                                                         \
    (6u << 20) /* of an idle queue: buffers that are kept, tables as large as they had to be */
#define IDLE_MEMORY (512u << 10) /* of all others */
#define CONFIG      "/etc/veredus.conf"

static const char config_text[] =
    "hostname = \"mx.sim.example\"\nstate = \"/state\"\nspool = \"/spool\"\nrun = \"/run\"\ntrusted = { "
    "\"10.9.0.0/16\" }\n"
    "listen \"10.0.0.1:25\" { role = mx }\n"
    "domain \"local.example\" { deliver = \"maildir:/mail/{local}\"\n mailboxes = any\n delimiter = \"+\" }\n"
    "domain \"strangers.example\" { deliver = \"maildir:/strangers/{local}\"\n mailboxes = any }\n"
    "queue { segment_size = 1M\n checkpoint_after = 64K\n minimum_free = 1M\n retry = { 5s, 30s, 2m, 10m }\n "
    "expire = 1d }\n"
    "processes { receivers = 2\n senders = 2 }\n";

struct scenario scenario;
static struct sim_actor *server;
static bool calm, wanted; /* wanted: the server should run */
static bool in_trouble;
static int64_t calm_since;

bool world_calm(void)
{
    return calm;
}

bool world_quiet(void)
{
    const struct scenario *s = &scenario;
    return !s->network && !s->kills && !s->power && !s->disk && !s->dns && !s->reloads;
}

/* ---- the server ------------------------------------------------------------------------------------------------------------- */

static int server_main(void *arg)
{
    (void)arg;
    struct config_load *load = config_load_file(CONFIG);
    if (load->config == NULL) {
        for (const struct config_problem *p = load->problems; p != NULL; p = p->next)
            violation("configuration: line %d: %s", p->line, p->message);
        return 78;
    }
    struct config *c = config_take(load);
    config_load_free(load);
    if (scenario.verbose)
        c->log_level = EVENT_DEBUG;
    return supervisor_run(c, &(struct supervisor_options){.foreground = true, .config_path = CONFIG});
}

static void server_start(void *arg)
{
    (void)arg;
    if (!wanted || (server != NULL && sim_alive(server)))
        return;
    server = sim_spawn("supervisor", server_main, NULL, false);
}

/* What systemd does: a server that ended is started again. */
static void server_watch(void *arg)
{
    (void)arg;
    if (!wanted)
        return;
    if (server != NULL && !sim_alive(server))
        sim_after((int64_t)sim_below(3 * SECOND), server_start, NULL);
    sim_after(2 * SECOND, server_watch, NULL);
}

/* ---- the rest of the world -------------------------------------------------------------------------------------------------- */

static void file_write(const char *path, const char *text)
{
    int status = io_fs_replace_file(path, vr_str_from(text), 0644);
    assert(status == 0);
}

static int world_main(void *arg)
{
    (void)arg;
    static const char *const folders[] = {"/etc", "/state", "/spool", "/run", "/mail", "/strangers"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        io_fs_mkdir_all(folders[i], 0755);
    io_fs_sync_directory("/");
    file_write(CONFIG, config_text);
    struct io *io = io_new(1);
    sinks_start(io);
    clients_start(io);
    strangers_start(io);
    io_run(io);
    return 0;
}

static void on_output(const char *title, struct vr_str text)
{
    (void)title;
    if (scenario.verbose)
        fwrite(text.p, 1, text.n, stdout);
    if (vr_str_find_str(text, VR_STR(" log.damage ")) != VR_NPOS)
        violation("the log is damaged: %.*s", VR_STR_ARG(vr_str_sub(text, 0, 300)));
}

/* ---- what goes wrong ---------------------------------------------------------------------------------------------------------- */

struct victim {
    unsigned count;
    struct sim_actor *chosen;
};

static void choose(void *arg, struct sim_actor *a, const char *title)
{
    struct victim *v = arg;
    (void)title;
    if (sim_below(++v->count) == 0)
        v->chosen = a;
}

static void kill_each(void *arg, struct sim_actor *a, const char *title)
{
    (void)arg, (void)title;
    sim_kill(a);
}

static void spare_each(void *arg, struct sim_actor *a, const char *title)
{
    (void)arg, (void)title;
    sim_kill_at_step(a, 0);
}

static void kill_one(bool at_step)
{
    struct victim v = {0};
    sim_processes(choose, &v);
    if (v.chosen == NULL)
        return;
    tally.kills++;
    if (at_step)
        sim_kill_at_step(v.chosen, 1 + (unsigned)sim_below(300));
    else
        sim_kill(v.chosen);
}

static void kill_all(void)
{
    tally.kills++;
    sim_processes(kill_each, NULL);
}

static void power_loss(void)
{
    tally.power_losses++;
    sim_power_loss();
}

static void trouble_ends(void *arg)
{
    (void)arg;
    static const struct sim_disk_trouble none;
    if (!in_trouble)
        return;
    in_trouble = false;
    sim_disk_trouble(&none);
    oracle_trouble(false);
}

static void disk_trouble(void)
{
    struct sim_disk_trouble t = {0};
    uint64_t dice = sim_below(4);
    if (in_trouble)
        return;
    if (dice == 0)
        t.write_fails = 1 + (unsigned)sim_below(100000);
    else if (dice == 1)
        t.sync_fails = 1 + (unsigned)sim_below(100000);
    else if (dice == 2)
        t.full = true;
    else
        t.slow_us = 1 + (int64_t)sim_below(200000);
    in_trouble = true;
    oracle_trouble(true);
    sim_disk_trouble(&t);
    sim_after((int64_t)sim_below(20 * SECOND), trouble_ends, NULL);
}

static void signal_server(int signum)
{
    if (server == NULL || !sim_alive(server))
        return;
    tally.reloads++;
    oracle_signal();
    sim_signal(server, signum);
}

static void somebody_died(const char *title)
{
    if (scenario.verbose)
        printf("--- at %.3f s %s is killed\n", (double)sim_now_us() / 1e6, title);
    oracle_kill(strcmp(title, "supervisor") == 0);
}

static void fault(void *arg)
{
    (void)arg;
    if (calm)
        return;
    uint64_t dice = sim_below(100);
    if (dice < 30 && scenario.kills) {
        kill_one(false);
    } else if (dice < 60 && scenario.kills) {
        kill_one(true);
    } else if (dice < 66 && scenario.kills) {
        kill_all();
    } else if (dice < 76 && scenario.power) {
        power_loss();
    } else if (dice < 90 && scenario.disk) {
        disk_trouble();
    } else if (dice < 97 && scenario.reloads) {
        signal_server(SIGHUP);
    } else if (scenario.reloads) {
        signal_server(SIGTERM);
    }
    sim_after((int64_t)sim_below(4 * SECOND), fault, NULL);
}

/* ---- the course ----------------------------------------------------------------------------------------------------------------- */

static void look_at_memory(void *arg, struct sim_actor *a, const char *title)
{
    (void)arg;
    if (sim_memory(a) > (strcmp(title, "queue") == 0 ? QUEUE_MEMORY : IDLE_MEMORY))
        violation("the %s is idle and holds %zu bytes", title, sim_memory(a));
}

static void look_for_anybody(void *arg, struct sim_actor *a, const char *title)
{
    (void)a;
    if (strcmp(title, "supervisor") == 0)
        return;
    ++*(unsigned *)arg;
    printf("seed %llu: this %s is still there\n", (unsigned long long)scenario.seed, title);
}

static bool run_until(int64_t until, bool (*done)(void))
{
    while (!done()) {
        if (sim_now_us() >= until)
            return false;
        sim_run(sim_now_us() + SECOND);
    }
    return true;
}

static bool load_is_done(void)
{
    return clients_done();
}

static bool all_is_settled(void)
{
    unsigned open;
    if (sim_now_us() < calm_since + 60 * SECOND)
        return false;
    return oracle_settled(&open);
}

static bool server_ended(void)
{
    return !sim_alive(server);
}

unsigned world_run(const struct scenario *s)
{
    scenario = *s;
    sim_begin(s->seed);
    sim_on_connect(sinks_fate);
    sim_on_dns(sinks_dns);
    sim_on_death(somebody_died);
    sim_on_output(on_output);
    sim_spawn("world", world_main, NULL, true);
    wanted = true;
    sim_after(1000, server_start, NULL);
    sim_after(2 * SECOND, server_watch, NULL);
    sim_after(SECOND, fault, NULL);
    if (!run_until(LOAD_MAX, load_is_done))
        violation("the clients are not served: after %lld s of load they still wait", LOAD_MAX / SECOND);
    calm = true;
    calm_since = sim_now_us();
    trouble_ends(NULL);
    sim_processes(spare_each, NULL);
    unsigned open = 0;
    if (!run_until(calm_since + SETTLE_MAX, all_is_settled) && !oracle_settled(&open))
        violation("%u recipients have no fate after %lld hours", open, SETTLE_MAX / SECOND / 3600);
    sim_run(sim_now_us() + IDLE_US);
    sim_processes(look_at_memory, NULL);
    if (server == NULL || !sim_alive(server)) {
        violation("the server does not run, though nothing is wrong any more");
    } else {
        wanted = false;
        sim_signal(server, SIGTERM);
        if (!run_until(sim_now_us() + 60 * SECOND, server_ended))
            violation("the server does not stop");
        else if (sim_exit_code(server) != 0)
            violation("the server stopped with exit code %d", sim_exit_code(server));
        unsigned left = 0;
        sim_processes(look_for_anybody, &left);
        if (left > 0)
            violation("%u processes outlive the server", left);
    }
    sim_power_loss(); /* what was reported as delivered must be there even now */
    oracle_mailboxes();
    strangers_final();
    oracle_final();
    return violations();
}
