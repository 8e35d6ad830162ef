/* io_stream.c - tests of plain streams and listeners in src/io/stream.h, over loopback and UNIX sockets. */
#include "io_testing.h"

#include "io/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* One end, with all that happened to it. */
struct end {
    struct io *io;
    struct io_stream *s;
    struct vr_buf got;
    int connected, ended, drained; /* how often */
    int status;
    size_t stop_at; /* io_stop when so many bytes came */
    bool echo, stop_at_end, close_in_data, pause_in_data, stop_when_drained;
};

static void on_connected(void *arg, int status)
{
    struct end *e = arg;
    e->connected++;
    e->status = status;
    if (status != 0)
        io_stop(e->io);
}

static void on_data(void *arg, struct vr_str bytes)
{
    struct end *e = arg;
    assert_true(bytes.n > 0);
    assert_true(vr_buf_add(&e->got, bytes));
    if (e->echo)
        io_stream_write(e->s, bytes);
    if (e->stop_at > 0 && vr_buf_size(&e->got) >= e->stop_at)
        io_stop(e->io);
    if (e->pause_in_data)
        io_stream_pause(e->s, true);
    if (e->close_in_data) {
        io_stream_close(e->s);
        e->s = NULL;
    }
}

static void on_ended(void *arg, int status)
{
    struct end *e = arg;
    e->ended++;
    e->status = status;
    if (e->stop_at_end)
        io_stop(e->io);
}

static void on_drained(void *arg)
{
    struct end *e = arg;
    assert_int_equal(io_stream_unsent(e->s), 0);
    e->drained++;
    if (e->stop_when_drained)
        io_stop(e->io);
}

static const struct io_stream_ops ops = {
    .connected = on_connected, .data = on_data, .ended = on_ended, .drained = on_drained};

struct fixture {
    struct io *io;
    struct io_listener *listener;
    struct io_address address;
    struct end server, client;
    int accepted;
    bool stop_at_accept;
    char folder[64];
};

static void on_accept(void *arg, struct io_stream *s)
{
    struct fixture *f = arg;
    f->accepted++;
    io_stream_close(f->server.s); /* NULL the first time */
    f->server.s = s;
    io_stream_set(s, &ops, &f->server);
    if (f->stop_at_accept)
        io_stop(f->io);
}

static void end_init(struct end *e, struct io *io)
{
    *e = (struct end){.io = io};
    vr_buf_init(&e->got, 64u << 20);
}

static void listen_on(struct fixture *f, const char *address)
{
    struct io_address a;
    assert_true(io_address_parse(vr_str_from(address), 0, &a));
    int fd = io_listen_fd(&a, false, 0660);
    assert_true(fd >= 0);
    assert_int_equal(io_listen_address(fd, &f->address), 0);
    f->listener = io_listener_new(f->io, fd, on_accept, f);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->io = io_new(1);
    end_init(&f->server, f->io);
    end_init(&f->client, f->io);
    folder_make(f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    io_stream_close(f->server.s);
    io_stream_close(f->client.s);
    io_listener_close(f->listener);
    io_free(f->io);
    vr_buf_fini(&f->server.got);
    vr_buf_fini(&f->client.got);
    folder_remove(f->folder);
    free(f);
    return 0;
}

static void connect_client(struct fixture *f)
{
    f->client.s = io_stream_connect(f->io, &f->address, NULL, 5000, &ops, &f->client);
    assert_non_null(f->client.s);
    assert_int_equal(f->client.connected, 0); /* never from inside the call */
}

static void assert_got(struct end *e, const char *text)
{
    assert_int_equal(vr_buf_size(&e->got), strlen(text));
    assert_memory_equal(vr_buf_str(&e->got).p, text, strlen(text));
}

static void echoes(void **state)
{
    struct fixture *f = *state;
    listen_on(f, "127.0.0.1:0");
    f->server.echo = true;
    f->client.stop_at = 11;
    connect_client(f);
    io_stream_write(f->client.s, VR_STR("EHLO "));
    io_stream_write(f->client.s, VR_STR("a.org\n")); /* before it is connected, in two pieces */
    assert_int_equal(io_stream_unsent(f->client.s), 11);
    run_guarded(f->io);
    assert_int_equal(f->client.connected, 1);
    assert_int_equal(f->client.status, 0);
    assert_got(&f->server, "EHLO a.org\n");
    assert_got(&f->client, "EHLO a.org\n");
    assert_int_equal(io_stream_unsent(f->client.s), 0);

    struct io_address peer, local;
    io_stream_peer(f->server.s, &peer);
    io_stream_local(f->client.s, &local);
    assert_int_equal(peer.port, local.port);
    assert_int_equal(peer.family, IO_INET);
    io_stream_peer(f->client.s, &peer);
    assert_int_equal(peer.port, f->address.port);
    uint32_t uid;
    char name[32];
    assert_false(io_stream_peer_user(f->server.s, &uid, name, sizeof name));
}

static void dual_stack_hears_ipv4(void **state)
{
    struct fixture *f = *state;
    listen_on(f, ":0");
    uint16_t port = f->address.port;
    f->address = (struct io_address){.family = IO_INET, .ip = {127, 0, 0, 1}, .port = port};
    f->server.stop_at = 2;
    connect_client(f);
    io_stream_write(f->client.s, VR_STR("hi"));
    run_guarded(f->io);
    struct io_address peer;
    char text[IO_ADDRESS_TEXT];
    io_stream_peer(f->server.s, &peer);
    io_address_ip_text(&peer, text);
    assert_string_equal(text, "127.0.0.1");
}

static void unix_socket_tells_its_user(void **state)
{
    struct fixture *f = *state;
    char address[100];
    struct stat st;
    snprintf(address, sizeof address, "unix:%s/s", f->folder);
    listen_on(f, address);
    assert_int_equal(stat(address + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    f->server.stop_at = 2;
    connect_client(f);
    io_stream_write(f->client.s, VR_STR("hi"));
    run_guarded(f->io);
    uint32_t uid = 99999;
    char name[64] = "";
    assert_true(io_stream_peer_user(f->server.s, &uid, name, sizeof name));
    assert_int_equal(uid, getuid());
    assert_true(name[0] != '\0');

    /* Somebody serves it: not taken away. Nobody does: the leftover is replaced. */
    struct io_address a = f->address;
    assert_int_equal(io_listen_fd(&a, false, 0600), -EADDRINUSE);
    io_listener_close(f->listener);
    f->listener = NULL;
    run_for(f->io, 1);
    int fd = io_listen_fd(&a, false, 0600);
    assert_true(fd >= 0);
    close(fd);
    /* A file that is no socket is nobody's leftover. */
    unlink(a.path);
    fd = open(a.path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    assert_int_equal(io_listen_fd(&a, false, 0600), -EADDRINUSE);
}

static void refused_and_bad_addresses_fail_by_callback(void **state)
{
    struct fixture *f = *state;
    listen_on(f, "127.0.0.1:0");
    io_listener_close(f->listener);
    f->listener = NULL;
    run_for(f->io, 1);
    connect_client(f);
    io_stream_write(f->client.s, VR_STR("lost"));
    run_guarded(f->io);
    assert_int_equal(f->client.status, -ECONNREFUSED);
    assert_int_equal(f->client.connected, 1);
    assert_int_equal(f->client.ended, 0);
    io_stream_write(f->client.s, VR_STR("dropped"));
    assert_int_equal(io_stream_unsent(f->client.s), 0);
    io_stream_close(f->client.s);

    /* From an address that is not ours. */
    struct io_address from = {.family = IO_INET, .ip = {192, 0, 2, 1}};
    f->client.connected = 0;
    f->client.s = io_stream_connect(f->io, &f->address, &from, 1000, &ops, &f->client);
    run_guarded(f->io);
    assert_int_equal(f->client.status, -EADDRNOTAVAIL);
    assert_int_equal(f->client.connected, 1);
}

static void connecting_has_a_time_limit(void **state)
{
    struct fixture *f = *state;
    /* A listening socket with a full backlog answers no SYN. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fill[8];
    struct io_address any = {.family = IO_INET, .ip = {127, 0, 0, 1}};
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    (void)any;
    assert_int_equal(listen(fd, 0), 0); /* binds to 0.0.0.0:any */
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
    for (int i = 0; i < 8; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fill[i], (struct sockaddr *)&sa, n);
    }
    assert_int_equal(io_listen_address(fd, &f->address), 0);
    memcpy(f->address.ip, any.ip, sizeof any.ip);
    f->client.s = io_stream_connect(f->io, &f->address, NULL, 50, &ops, &f->client);
    run_guarded(f->io);
    assert_int_equal(f->client.status, -ETIMEDOUT);
    for (int i = 0; i < 8; i++)
        close(fill[i]);
    close(fd);
}

static void end_comes_after_all_data(void **state)
{
    struct fixture *f = *state;
    listen_on(f, "127.0.0.1:0");
    f->server.stop_at_end = true;
    connect_client(f);
    io_stream_write(f->client.s, VR_STR("last words"));
    io_stream_finish(f->client.s, 1000); /* still connecting: nothing was promised */
    f->client.s = NULL;
    connect_client(f);
    run_for(f->io, 20);
    io_stream_write(f->client.s, VR_STR("last words"));
    io_stream_finish(f->client.s, 1000);
    f->client.s = NULL;
    vr_buf_reset(&f->server.got);
    f->server.ended = 0;
    run_guarded(f->io);
    assert_got(&f->server, "last words");
    assert_int_equal(f->server.ended, 1);
    assert_int_equal(f->server.status, 0);
}

static void large_transfer_waits_for_the_reader(void **state)
{
    struct fixture *f = *state;
    static char block[1 << 20];
    const size_t total = 16 * sizeof block;
    listen_on(f, "127.0.0.1:0");
    connect_client(f);
    run_for(f->io, 20);
    io_stream_pause(f->server.s, true);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7 + i / 251);
    for (int i = 0; i < 16; i++)
        io_stream_write(f->client.s, vr_str(block, sizeof block));
    run_for(f->io, 50);
    assert_true(io_stream_unsent(f->client.s) > 0);
    assert_int_equal(f->client.drained, 0);
    assert_int_equal(vr_buf_size(&f->server.got), 0);
    f->server.stop_at = total;
    io_stream_pause(f->server.s, false);
    run_guarded(f->io);
    run_for(f->io, 5);
    assert_int_equal(f->client.drained, 1);
    assert_int_equal(io_stream_unsent(f->client.s), 0);
    struct vr_str got = vr_buf_str(&f->server.got);
    assert_int_equal(got.n, total);
    for (int i = 0; i < 16; i++)
        assert_memory_equal(got.p + (size_t)i * sizeof block, block, sizeof block);
}

static void pausing_inside_the_callback_holds(void **state)
{
    struct fixture *f = *state;
    listen_on(f, "127.0.0.1:0");
    f->server.pause_in_data = true;
    connect_client(f);
    io_stream_write(f->client.s, VR_STR("one"));
    run_for(f->io, 20);
    assert_got(&f->server, "one");
    io_stream_write(f->client.s, VR_STR("two"));
    io_stream_finish(f->client.s, 1000);
    f->client.s = NULL;
    run_for(f->io, 20);
    assert_got(&f->server, "one");
    assert_int_equal(f->server.ended, 0);
    f->server.pause_in_data = false;
    f->server.stop_at_end = true;
    io_stream_pause(f->server.s, false);
    run_guarded(f->io);
    assert_got(&f->server, "onetwo");
    assert_int_equal(f->server.ended, 1);
}

static void closing_inside_the_callback_is_safe(void **state)
{
    struct fixture *f = *state;
    listen_on(f, "127.0.0.1:0");
    f->server.close_in_data = true;
    f->client.stop_at_end = true;
    connect_client(f);
    io_stream_write(f->client.s, VR_STR("x"));
    run_guarded(f->io);
    assert_null(f->server.s);
    assert_int_equal(f->client.ended, 1);
}

static void reset_is_an_error_end(void **state)
{
    struct fixture *f = *state;
    listen_on(f, "127.0.0.1:0");
    f->server.pause_in_data = true;
    f->client.stop_at_end = true;
    connect_client(f);
    io_stream_write(f->client.s, VR_STR("x"));
    run_for(f->io, 20);
    io_stream_write(f->client.s, VR_STR("unread"));
    run_for(f->io, 20);
    io_stream_close(f->server.s); /* with unread bytes: the kernel resets */
    f->server.s = NULL;
    run_guarded(f->io);
    assert_int_equal(f->client.ended, 1);
    assert_int_equal(f->client.status, -ECONNRESET);
    io_stream_write(f->client.s, VR_STR("dropped"));
    run_for(f->io, 5);
    assert_int_equal(f->client.ended, 1); /* once only */
}

/* The reply to a client that still pumps must reach it: no reset may overtake it. */
static void finish_lingers_for_unread_input(void **state)
{
    struct fixture *f = *state;
    listen_on(f, "127.0.0.1:0");
    f->server.pause_in_data = true;
    f->client.stop_at_end = true;
    connect_client(f);
    io_stream_write(f->client.s, VR_STR("x"));
    run_for(f->io, 20);
    static char flood[200000];
    io_stream_write(f->client.s, vr_str(flood, sizeof flood));
    run_for(f->io, 20);
    io_stream_write(f->server.s, VR_STR("552 too much\r\n"));
    io_stream_finish(f->server.s, 2000);
    f->server.s = NULL;
    run_guarded(f->io);
    assert_got(&f->client, "552 too much\r\n");
    assert_int_equal(f->client.ended, 1);
    assert_int_equal(f->client.status, 0);
}

static void finish_gives_up_after_its_time(void **state)
{
    struct fixture *f = *state;
    static char block[8 << 20];
    listen_on(f, "127.0.0.1:0");
    connect_client(f);
    run_for(f->io, 20);
    io_stream_pause(f->client.s, true);
    io_stream_write(f->server.s, vr_str(block, sizeof block));
    io_stream_finish(f->server.s, 30);
    f->server.s = NULL;
    run_for(f->io, 100);
    f->client.stop_at_end = true;
    io_stream_pause(f->client.s, false);
    run_guarded(f->io);
    assert_true(vr_buf_size(&f->client.got) < sizeof block);
    assert_int_equal(f->client.ended, 1);
}

static void pipes_and_files_are_streams(void **state)
{
    struct fixture *f = *state;
    int p[2];
    assert_int_equal(pipe(p), 0);
    f->server.s = io_stream_from_fd(f->io, p[0]);
    f->client.s = io_stream_from_fd(f->io, p[1]);
    io_stream_set(f->server.s, &ops, &f->server);
    io_stream_set(f->client.s, &ops, &f->client);
    io_stream_write(f->client.s, VR_STR("through a pipe"));
    io_stream_finish(f->client.s, 100);
    f->client.s = NULL;
    f->server.stop_at_end = true;
    run_guarded(f->io);
    assert_got(&f->server, "through a pipe");
    io_stream_close(f->server.s);

    /* The writing end learns that its reader left. */
    assert_int_equal(pipe(p), 0);
    f->client.s = io_stream_from_fd(f->io, p[1]);
    f->client.stop_at_end = true;
    io_stream_set(f->client.s, &ops, &f->client);
    run_for(f->io, 5);
    close(p[0]);
    run_guarded(f->io);
    assert_int_equal(f->client.ended, 1);
    assert_int_equal(f->client.status, -EPIPE);

    char path[100];
    snprintf(path, sizeof path, "%s/file", f->folder);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(fd, "in a file", 9), 9);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    vr_buf_reset(&f->server.got);
    f->server.ended = 0;
    f->server.s = io_stream_from_fd(f->io, fd);
    io_stream_set(f->server.s, &ops, &f->server);
    run_guarded(f->io);
    assert_got(&f->server, "in a file");
    assert_int_equal(f->server.ended, 1);
}

static void count_turn(void *arg)
{
    ++*(int *)arg;
}

static void listener_pauses(void **state)
{
    struct fixture *f = *state;
    listen_on(f, "127.0.0.1:0");
    io_listener_pause(f->listener, true);
    connect_client(f);
    run_for(f->io, 20);
    assert_int_equal(f->accepted, 0);
    assert_int_equal(f->client.connected, 1); /* the backlog holds it */
    f->stop_at_accept = true;
    io_listener_pause(f->listener, false);
    run_guarded(f->io);
    assert_int_equal(f->accepted, 1);
}

/* The backlog holds newcomers while no descriptor is free; the loop does not spin, and later they are served. */
static void out_of_descriptors_the_listener_rests(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, tight;
    listen_on(f, "127.0.0.1:0");
    connect_client(f);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0);
    close(next);
    tight = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    int turns = 0;
    io_on_turn_end(f->io, count_turn, &turns);
    run_for(f->io, 50);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(f->accepted, 0);
    assert_true(turns < 20);
    f->stop_at_accept = true;
    run_guarded(f->io);
    assert_int_equal(f->accepted, 1);
}

struct many {
    struct io *io;
    struct io_stream *streams[500];
    int count, wanted;
};

static void count_accept(void *arg, struct io_stream *s)
{
    struct many *m = arg;
    static const struct io_stream_ops idle = {0};
    io_stream_set(s, &idle, m);
    m->streams[m->count++] = s;
    if (m->count == m->wanted)
        io_stop(m->io);
}

/* The design figure: an idle connection holds no buffers. */
static void idle_streams_are_small(void **state)
{
    struct fixture *f = *state;
    static struct many m;
    struct io_address a;
    int clients[500];
    m = (struct many){.io = f->io, .wanted = 500};
    assert_true(io_address_parse(VR_STR("127.0.0.1:0"), 0, &a));
    int fd = io_listen_fd(&a, true, 0);
    assert_int_equal(io_listen_address(fd, &a), 0);
    f->listener = io_listener_new(f->io, fd, count_accept, &m);
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    getsockname(fd, (struct sockaddr *)&sa, &n);
    for (int i = 0; i < 500; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&sa, n), 0);
    }
    size_t before = mallinfo2().uordblks;
    run_guarded(f->io);
    for (int i = 0; i < 500; i++)
        io_stream_write(m.streams[i], VR_STR("220 ready\r\n"));
    run_for(f->io, 20);
    size_t each = (mallinfo2().uordblks - before) / 500;
    assert_true(each < 1024);
    for (int i = 0; i < 500; i++) {
        io_stream_close(m.streams[i]);
        close(clients[i]);
    }
    print_message("an idle stream holds %zu bytes of heap\n", each);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(echoes),
        T(dual_stack_hears_ipv4),
        T(unix_socket_tells_its_user),
        T(refused_and_bad_addresses_fail_by_callback),
        T(connecting_has_a_time_limit),
        T(end_comes_after_all_data),
        T(large_transfer_waits_for_the_reader),
        T(pausing_inside_the_callback_holds),
        T(closing_inside_the_callback_is_safe),
        T(reset_is_an_error_end),
        T(finish_lingers_for_unread_input),
        T(finish_gives_up_after_its_time),
        T(pipes_and_files_are_streams),
        T(listener_pauses),
        T(out_of_descriptors_the_listener_rests),
        T(idle_streams_are_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
