/* wiring.c - see wiring.h.
 *
 * Rule: a queue or a keeper that drains hears no newcomers; a receiver or sender that drains still gets the
 * new queue and the new keeper, since it finishes its sessions with them.
 */
#include "supervisor/wiring.h"

#include <string.h>

static const struct {
    enum ipc_role client, server;
} wires[] = {
    {IPC_RECEIVER, IPC_QUEUE},    {IPC_RECEIVER, IPC_KEEPER},   {IPC_SENDER, IPC_QUEUE},
    {IPC_LOCAL, IPC_QUEUE},       {IPC_LOCAL, IPC_KEEPER},      {IPC_ADMIN, IPC_QUEUE},
    {IPC_KEEPER, IPC_PAM},        {IPC_RECEIVER, IPC_RESOLVER}, {IPC_RECEIVER, IPC_REPORTER},
    {IPC_SENDER, IPC_REPORTER},   {IPC_REPORTER, IPC_QUEUE},    {IPC_REPORTER, IPC_KEEPER},
    {IPC_REPORTER, IPC_RESOLVER}, {IPC_SENDER, IPC_RESOLVER},
};

struct child *children_add(struct children *c, enum ipc_role role, unsigned number, uint32_t generation)
{
    for (uint32_t i = 0; i < CHILD_MAX; i++)
        if (c->items[i].state == CHILD_FREE) {
            c->items[i] = (struct child){.state = CHILD_WAITING,
                                         .role = role,
                                         .number = number,
                                         .generation = generation,
                                         .slot = i + 1,
                                         .channel = -1};
            return &c->items[i];
        }
    return NULL;
}

struct child *children_by_pid(struct children *c, int pid)
{
    for (size_t i = 0; i < CHILD_MAX; i++)
        if (c->items[i].state == CHILD_RUNNING && c->items[i].pid == pid)
            return &c->items[i];
    return NULL;
}

unsigned children_count(const struct children *c, unsigned roles, bool only_draining)
{
    unsigned n = 0;
    for (size_t i = 0; i < CHILD_MAX; i++)
        n += c->items[i].state == CHILD_RUNNING && (c->items[i].role & roles) &&
             (!only_draining || c->items[i].draining);
    return n;
}

bool children_all_ready(const struct children *c)
{
    for (size_t i = 0; i < CHILD_MAX; i++)
        if (c->items[i].state == CHILD_WAITING || (c->items[i].state == CHILD_RUNNING && !c->items[i].ready))
            return false;
    return true;
}

static bool speaks_with(const struct child *client, const struct child *server)
{
    if (server->draining)
        return false;
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++)
        if (wires[i].client == client->role && wires[i].server == server->role)
            return true;
    return false;
}

static void introduce(struct children *c, const struct child *to, const struct child *peer, int fd)
{
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u32(&b, peer->role);
    ipc_put_u32(&b, peer->slot);
    ipc_put_u32(&b, peer->generation);
    io_supervise_send(c->io, to->channel, IPC_ATTACH, vr_buf_str(&b), fd);
    vr_buf_fini(&b);
}

static void send_u32(struct children *c, const struct child *to, enum ipc_type type, uint32_t value)
{
    io_supervise_send(c->io, to->channel, (uint16_t)type, vr_str((const char *)&value, sizeof value), -1);
}

void children_wire(struct children *c, struct child *fresh)
{
    if (fresh->role == IPC_QUEUE)
        send_u32(c, fresh, IPC_EXPECT, children_count(c, IPC_SENDER | IPC_LOCAL, false));
    for (size_t i = 0; i < CHILD_MAX; i++) {
        struct child *other = &c->items[i];
        if (other->state != CHILD_RUNNING || other == fresh)
            continue;
        if (!speaks_with(fresh, other) && !speaks_with(other, fresh))
            continue;
        int fds[2];
        if (io_channel_pair(fds) != 0)
            break; /* out of descriptors: nothing else can be joined either */
        introduce(c, fresh, other, fds[0]);
        introduce(c, other, fresh, fds[1]);
    }
}

void child_drain(struct children *c, struct child *child, uint32_t deadline_ms)
{
    child->draining = true;
    send_u32(c, child, IPC_DRAIN, deadline_ms);
}

void children_drain(struct children *c, unsigned roles, uint32_t deadline_ms)
{
    for (size_t i = 0; i < CHILD_MAX; i++)
        if (c->items[i].state == CHILD_RUNNING && (c->items[i].role & roles) && !c->items[i].draining)
            child_drain(c, &c->items[i], deadline_ms);
}
