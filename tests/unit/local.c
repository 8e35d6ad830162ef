/* local.c - the local process between a queue and a keeper: what stands in the Maildirs, and what is reported. */
#include "deliverer_testing.h"

#include "local/local.h"

#include <veredus/smtp.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX  "Received: from test\r\n"
#define CONTENT "Subject: hello\r\n\r\nbody\r\n.dot\r\n"

/* ---- a disk that fails when told to (linked with --wrap), in the process under test too --------------------------------- */

enum fault { NO_FAULT, FAULT_OPEN, FAULT_WRITE, FAULT_SYNC, FAULT_RENAME, FAULT_SYNC_DIRECTORY };

/* Shared with the process under test. `status` is what calls of this kind return, on paths that end in `tail` where they have one. */
static struct disk {
    _Atomic int fault, status;
    char tail[64];
    _Atomic unsigned synced; /* folders */
} * disk;

static bool fails(enum fault fault, const char *path)
{
    size_t n = path != NULL ? strlen(path) : 0, tail = strlen(disk->tail);
    return disk->fault == (int)fault &&
           (path == NULL || (n >= tail && strcmp(path + n - tail, disk->tail) == 0));
}

int __real_io_fs_open(const char *path, unsigned flags, unsigned mode);
int __wrap_io_fs_open(const char *path, unsigned flags, unsigned mode);
int __wrap_io_fs_open(const char *path, unsigned flags, unsigned mode)
{
    return fails(FAULT_OPEN, NULL) ? disk->status : __real_io_fs_open(path, flags, mode);
}

int __real_io_fs_write(int fd, const void *p, size_t n);
int __wrap_io_fs_write(int fd, const void *p, size_t n);
int __wrap_io_fs_write(int fd, const void *p, size_t n)
{
    if (!fails(FAULT_WRITE, NULL))
        return __real_io_fs_write(fd, p, n);
    __real_io_fs_write(fd, p, n / 2); /* half of it comes to disk, as on a full one */
    return disk->status;
}

int __real_io_fs_sync(int fd);
int __wrap_io_fs_sync(int fd);
int __wrap_io_fs_sync(int fd)
{
    return fails(FAULT_SYNC, NULL) ? disk->status : __real_io_fs_sync(fd);
}

int __real_io_fs_rename(const char *from, const char *to);
int __wrap_io_fs_rename(const char *from, const char *to);
int __wrap_io_fs_rename(const char *from, const char *to)
{
    return fails(FAULT_RENAME, NULL) ? disk->status : __real_io_fs_rename(from, to);
}

int __real_io_fs_sync_directory(const char *path);
int __wrap_io_fs_sync_directory(const char *path);
int __wrap_io_fs_sync_directory(const char *path)
{
    disk->synced++;
    return fails(FAULT_SYNC_DIRECTORY, path) ? disk->status : __real_io_fs_sync_directory(path);
}

static void disk_fails(enum fault fault, const char *tail, int status)
{
    snprintf(disk->tail, sizeof disk->tail, "%s", tail);
    disk->status = status;
    disk->fault = (int)fault;
}

/* ---- the fixture -------------------------------------------------------------------------------------------------------- */

enum { ANY, ACCOUNTS, IDN }; /* the domains, by index */

static char asked_for[8][80];
static size_t asked_count;

static void keeper_answers(struct rig_end *from, uint64_t ask, enum ipc_answer answer)
{
    struct vr_buf b;
    vr_buf_init(&b, 256);
    ipc_put_u64(&b, ask);
    ipc_put_u8(&b, (uint8_t)answer);
    ipc_put_u32(&b, 0);
    ipc_put_u32(&b, 0);
    ipc_put_str(&b, VR_STR(""));
    ipc_put_u64(&b, 0);
    io_channel_send(from->channel, IPC_ANSWER, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

/* The keeper: ann exists, later@ is not to be told now, silence@ gets no answer; nobody else is there. ann+again gets two answers. */
static void keeper(struct rig *r, struct rig_end *from, uint64_t ask, uint8_t kind, struct vr_str address)
{
    (void)r;
    assert_int_equal(kind, 0);
    assert_true(asked_count < 8);
    snprintf(asked_for[asked_count++], 80, "%.*s", VR_STR_ARG(address));
    if (vr_str_starts(address, VR_STR("silence")))
        return;
    keeper_answers(from, ask,
                   vr_str_equal(address, VR_STR("jörg@xn--bcher-kva.test")) ||
                           vr_str_equal(address, VR_STR("ann@accounts.test"))
                       ? IPC_YES
                   : vr_str_starts(address, VR_STR("later")) ? IPC_LATER
                                                             : IPC_NO);
    if (vr_str_starts(address, VR_STR("ann+again")))
        keeper_answers(from, ask, IPC_YES);
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    char text[1024];
    asked_count = 0;
    disk = mmap(NULL, sizeof *disk, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(disk != MAP_FAILED);
    r->io = io_new(1);
    r->asked = keeper;
    folder_make(r->folder);
    snprintf(text, sizeof text,
             "hostname = \"local.test\"\nstate = \"%s\"\nspool = \"%s\"\nrun = \"%s\"\n"
             "domain \"any.test\" { deliver = \"maildir:%s/{domain}/{local}\"\n mailboxes = any }\n"
             "domain \"accounts.test\" { deliver = \"maildir:%s/{domain}/{local}/Maildir\" }\n"
             "domain \"BÜCHER.test\" { deliver = \"maildir:%s/{domain}/{local}\" }\n",
             r->folder, r->folder, r->folder, r->folder, r->folder, r->folder);
    rig_config(r, text);
    assert_true(vr_str_equal(r->config->domains[ANY].name, VR_STR("any.test")));
    rig_start(r, &local_ops);
    rig_attach(r, 1, IPC_KEEPER);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    rig_stop(r);
    folder_remove(r->folder);
    munmap(disk, sizeof *disk);
    free(r);
    return 0;
}

static struct delivery delivery(uint32_t domain, struct delivery_rcpt *rcpts, uint32_t n)
{
    static uint64_t message = 100;
    for (uint32_t i = 0; i < n; i++)
        rcpts[i].index = i;
    return (struct delivery){.message = ++message,
                             .next_hop = {.kind = NEXT_HOP_MAILDIR, .route = UINT32_MAX, .domain = domain},
                             .reverse_path = VR_STR("from@x.test"),
                             .prefix = VR_STR(PREFIX),
                             .content = VR_STR(CONTENT),
                             .rcpts = rcpts,
                             .rcpt_count = n};
}

/* The files of a folder below the rig's. */
struct files {
    char folder[256], last[256];
    size_t count;
};

static bool file_seen(void *arg, const char *name)
{
    struct files *f = arg;
    snprintf(f->last, sizeof f->last, "%.100s/%.140s", f->folder, name);
    f->count++;
    return true;
}

static struct files files_in(const struct rig *r, const char *folder)
{
    struct files f = {0};
    snprintf(f.folder, sizeof f.folder, "%s/%s", r->folder, folder);
    io_fs_list(f.folder, file_seen, &f);
    return f;
}

static void assert_file(const char *path, const char *wanted)
{
    char got[4096];
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, got, sizeof got - 1);
    close(fd);
    assert_true(n >= 0);
    got[n] = '\0';
    assert_string_equal(got, wanted);
}

/* ---- deliveries --------------------------------------------------------------------------------------------------------- */

static void test_one(void **state)
{
    struct rig *r = *state;
    struct delivery_rcpt to = {.address = VR_STR("Ann+tag@any.test")};
    struct delivery d = delivery(ANY, &to, 1);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "delivered");
    struct files f = files_in(r, "any.test/ann/new"); /* lower case, without the tag */
    assert_int_equal(f.count, 1);
    static const char wanted[] =
        "Return-Path: <from@x.test>\nDelivered-To: Ann+tag@any.test\nReceived: from test\n"
        "Subject: hello\n\nbody\n.dot\n";
    assert_file(f.last, wanted);
    char size[32];
    snprintf(size, sizeof size, ",S=%zu", sizeof wanted - 1);
    assert_string_equal(f.last + strlen(f.last) - strlen(size), size);
    assert_non_null(strstr(f.last, ".local.test,S="));
    assert_int_equal(files_in(r, "any.test/ann/tmp").count, 0);
    struct stat st;
    assert_int_equal(stat(f.last, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(files_in(r, "any.test/ann").folder, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(files_in(r, "any.test/ann").count, 3); /* cur, new, tmp */
}

/* Nothing but line ends is changed. */
static void test_bytes(void **state)
{
    struct rig *r = *state;
    struct delivery_rcpt to = {.address = VR_STR("ann@any.test")};
    struct delivery d = delivery(ANY, &to, 1);
    d.reverse_path = vr_str(NULL, 0);
    d.content = VR_STR("A: 1\r\n\r\na\rb\r\r\nc\r\n\xff\xfe\r\n\r\n");
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    assert_file(files_in(r, "any.test/ann/new").last,
                "Return-Path: <>\nDelivered-To: ann@any.test\nReceived: from test\n"
                "A: 1\n\na\rb\r\nc\n\xff\xfe\n\n");
}

static void test_large(void **state)
{
    struct rig *r = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/body", r->folder);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs("Subject: large\r\n\r\n", out);
    for (int i = 0; i < 20000; i++)
        fprintf(out, "line %d of many\r\n", i);
    long size = ftell(out);
    fclose(out);
    struct delivery_rcpt to[2] = {{.address = VR_STR("ann@any.test")}, {.address = VR_STR("bob@any.test")}};
    struct delivery d = delivery(ANY, to, 2);
    d.content = vr_str(NULL, 0);
    d.content_size = (uint64_t)size;
    const struct seen *s = rig_deliver(r, &d, open(path, O_RDONLY | O_CLOEXEC));
    for (uint32_t i = 0; i < 2; i++)
        expect(s, i, DELIVERY_OK, "2.0.0", "");
    struct stat one, two;
    assert_int_equal(stat(files_in(r, "any.test/ann/new").last, &one), 0);
    assert_int_equal(stat(files_in(r, "any.test/bob/new").last, &two), 0);
    assert_int_equal(one.st_size, two.st_size); /* both read the same descriptor */
    assert_true(one.st_size > size - 20002 && one.st_size < size);
    /* a file that is shorter than it should be is never delivered as if it were whole */
    d = delivery(ANY, to, 1);
    d.content = vr_str(NULL, 0);
    d.content_size = (uint64_t)size + 1;
    expect(rig_deliver(r, &d, open(path, O_RDONLY | O_CLOEXEC)), 0, DELIVERY_TEMPORARY, "4.2.0", "");
    assert_int_equal(files_in(r, "any.test/ann/new").count, 1);
    assert_int_equal(files_in(r, "any.test/ann/tmp").count, 0);
}

/* Any byte may be content, so line ends could not be changed: what is binary becomes base64, what is signed stays as it came. */
static void test_binary(void **state)
{
    struct rig *r = *state;
    struct delivery_rcpt to = {.address = VR_STR("ann@any.test")};
    struct delivery d = delivery(ANY, &to, 1);
    d.body = SMTP_BODY_BINARYMIME;
    d.content = VR_STR(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
        "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        "\0\r\n\n.\r\n\xff\r\r\n--b--\r\n");
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    assert_file(files_in(r, "any.test/ann/new").last,
                "Return-Path: <from@x.test>\nDelivered-To: ann@any.test\nReceived: from test\n"
                "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\n"
                "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n"
                "AA0KCi4NCv8N\n--b--\n");

    to.address = VR_STR("bob@any.test"); /* nothing in it is binary: a message as others are */
    d = delivery(ANY, &to, 1);
    d.body = SMTP_BODY_BINARYMIME;
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    assert_file(files_in(r, "any.test/bob/new").last,
                "Return-Path: <from@x.test>\nDelivered-To: bob@any.test\nReceived: from test\n"
                "Subject: hello\n\nbody\n.dot\n");

    to.address = VR_STR("eve@any.test");
    d = delivery(ANY, &to, 1);
    d.body = SMTP_BODY_BINARYMIME;
    d.content = VR_STR("Content-Type: multipart/signed; boundary=b; protocol=\"x/y\"\r\n\r\n--b\r\n"
                       "Content-Transfer-Encoding: binary\r\n\r\n\n\n\r\n--b\r\n\r\nx\r\n--b--");
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    assert_file(files_in(r, "any.test/eve/new").last,
                "Return-Path: <from@x.test>\r\nDelivered-To: eve@any.test\r\nReceived: from test\r\n"
                "Content-Type: multipart/signed; boundary=b; protocol=\"x/y\"\r\n\r\n--b\r\n"
                "Content-Transfer-Encoding: binary\r\n\r\n\n\n\r\n--b\r\n\r\nx\r\n--b--");
}

/* From a file, in pieces that cut the binary part anywhere. */
static void test_large_binary(void **state)
{
    struct rig *r = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/body", r->folder);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs("MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: "
          "binary\r\n\r\n",
          out);
    enum { N = 900000 };
    for (uint32_t i = 0; i < N; i++)
        putc((int)(i * 2654435761u >> 24), out);
    long size = ftell(out);
    fclose(out);
    struct delivery_rcpt to = {.address = VR_STR("ann@any.test")};
    struct delivery d = delivery(ANY, &to, 1);
    d.body = SMTP_BODY_BINARYMIME;
    d.content = vr_str(NULL, 0);
    d.content_size = (uint64_t)size;
    expect(rig_deliver(r, &d, open(path, O_RDONLY | O_CLOEXEC)), 0, DELIVERY_OK, "2.0.0", "");
    struct vr_buf file, base64, bytes;
    vr_buf_init(&file, 4u << 20);
    vr_buf_init(&base64, 4u << 20);
    vr_buf_init(&bytes, 4u << 20);
    assert_int_equal(io_fs_read_file(files_in(r, "any.test/ann/new").last, &file), 0);
    struct vr_str text = vr_buf_str(&file), line;
    size_t body = vr_str_find_str(text, VR_STR("\n\n"));
    assert_true(vr_str_find_str(vr_str_sub(text, 0, body), VR_STR("\nContent-Transfer-Encoding: base64")) !=
                VR_NPOS);
    text = vr_str_from_pos(text, body + 2);
    while (vr_str_split(&text, '\n', &line))
        vr_buf_add(&base64, line);
    assert_int_equal(vr_base64_decode(&bytes, vr_buf_str(&base64)), VR_OK);
    assert_int_equal(vr_buf_size(&bytes), N);
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal((unsigned char)vr_buf_str(&bytes).p[i], i * 2654435761u >> 24);
    vr_buf_fini(&file);
    vr_buf_fini(&base64);
    vr_buf_fini(&bytes);
    d = delivery(ANY, &to, 1); /* shorter than it should be */
    d.body = SMTP_BODY_BINARYMIME;
    d.content = vr_str(NULL, 0);
    d.content_size = (uint64_t)size + 1;
    expect(rig_deliver(r, &d, open(path, O_RDONLY | O_CLOEXEC)), 0, DELIVERY_TEMPORARY, "4.2.0", "");
    assert_int_equal(files_in(r, "any.test/ann/new").count, 1);
}

/* What failed verification goes to Junk: a folder of the Maildir, made as Maildir++ has it, which nothing else is put into. */
static void test_junk(void **state)
{
    struct rig *r = *state;
    struct stat st;
    char path[160];
    struct delivery_rcpt to = {.address = VR_STR("ann@any.test")};
    struct delivery d = delivery(ANY, &to, 1);
    d.asks = ENVELOPE_QUARANTINE;
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    assert_int_equal(files_in(r, "any.test/ann/.Junk/new").count, 1);
    assert_int_equal(files_in(r, "any.test/ann/new").count, 0);
    static const char *const there[] = {"cur", "tmp", ".Junk/cur", ".Junk/tmp", ".Junk/maildirfolder"};
    for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
        snprintf(path, sizeof path, "%s/any.test/ann/%s", r->folder, there[i]);
        if (stat(path, &st) != 0)
            fail_msg("%s is missing", path);
    }
    d = delivery(ANY, &to, 1);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    d = delivery(ANY, &to, 1);
    d.asks = ENVELOPE_QUARANTINE;
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    assert_int_equal(files_in(r, "any.test/ann/.Junk/new").count, 2);
    assert_int_equal(files_in(r, "any.test/ann/new").count, 1);
    snprintf(path, sizeof path, "%s/any.test/ann/maildirfolder", r->folder);
    assert_int_not_equal(stat(path, &st), 0); /* the inbox is a Maildir itself */
}

static void test_many(void **state)
{
    struct rig *r = *state;
    struct delivery_rcpt to = {.address = VR_STR("ann@any.test")};
    for (int i = 0; i < 30; i++) {
        struct delivery d = delivery(ANY, &to, 1);
        rig_deliver_by(r, 0, &d, -1);
    }
    rig_until(r, r->result_count == 30);
    assert_int_equal(files_in(r, "any.test/ann/new").count, 30); /* no name twice */
}

static void test_accounts(void **state)
{
    struct rig *r = *state;
    struct delivery_rcpt to[5] = {{.address = VR_STR("ann@accounts.test")},
                                  {.address = VR_STR("nobody@accounts.test")},
                                  {.address = VR_STR("later@accounts.test")},
                                  {.address = VR_STR("ann+x@accounts.test")},
                                  {.address = VR_STR("nobody+y@accounts.test")}};
    struct delivery d = delivery(ACCOUNTS, to, 5);
    const struct seen *s = rig_deliver(r, &d, -1);
    expect(s, 0, DELIVERY_OK, "2.0.0", "");
    expect(s, 1, DELIVERY_NO_MAILBOX, "5.1.1", "no such mailbox");
    expect(s, 2, DELIVERY_TEMPORARY, "4.3.0", "");
    expect(s, 3, DELIVERY_OK, "2.0.0", "");
    expect(s, 4, DELIVERY_NO_MAILBOX, "5.1.1", "");
    assert_int_equal(files_in(r, "accounts.test/ann/Maildir/new").count, 2);
    assert_string_equal(asked_for[3], "ann+x@accounts.test"); /* the whole local part goes before its base */
    asked_count = 0;
    d = delivery(ACCOUNTS, to, 1);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    assert_int_equal(asked_count, 0); /* known for a while */
}

/* A question is settled by its first answer, also when what it was about is known by then and nothing more is asked. */
static void test_answered_twice(void **state)
{
    struct rig *r = *state;
    struct delivery_rcpt ann = {.address = VR_STR("ann@accounts.test")},
                         again = {.address = VR_STR("ann+again@accounts.test")};
    struct delivery d = delivery(ACCOUNTS, &ann, 1);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    d = delivery(ACCOUNTS, &again, 1);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    d = delivery(ACCOUNTS, &ann, 1);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    assert_int_equal(r->result_count, 3);
    assert_int_equal(files_in(r, "accounts.test/ann/Maildir/new").count, 3);
}

/* A keeper that dies with a question: the next one is asked again. */
static void test_keeper_dies(void **state)
{
    struct rig *r = *state;
    struct delivery_rcpt to = {.address = VR_STR("silence@accounts.test")};
    struct delivery d = delivery(ACCOUNTS, &to, 1);
    rig_deliver_by(r, 0, &d, -1);
    rig_until(r, asked_count == 1);
    rig_detach(r, 1);
    rig_attach(r, 2, IPC_KEEPER);
    rig_until(r, asked_count == 2);
    assert_string_equal(asked_for[1], "silence@accounts.test");
    assert_int_equal(r->result_count, 0);
}

/* One mailbox, however it is spelt: asked for by its key, in a folder that reads as the configuration does. */
static void test_beyond_ascii(void **state)
{
    struct rig *r = *state;
    struct delivery_rcpt to[4] = {{.address = VR_STR("jörg@bücher.test")},
                                  {.address = VR_STR("JÖRG@xn--bcher-kva.test")},
                                  {.address = VR_STR("Jo\u0308rg@BÜCHER.test")},
                                  {.address = VR_STR("jorg@bücher.test")}};
    struct delivery d = delivery(IDN, to, 4);
    d.reverse_path = VR_STR("δοκιμή@παράδειγμα.δοκιμή");
    const struct seen *s = rig_deliver(r, &d, -1);
    for (uint32_t i = 0; i < 3; i++)
        expect(s, i, DELIVERY_OK, "2.0.0", "");
    expect(s, 3, DELIVERY_NO_MAILBOX, "5.1.1", "");
    struct files f = files_in(r, "bücher.test/jörg/new");
    assert_int_equal(f.count, 3);
    assert_int_equal(files_in(r, "bücher.test").count, 1);
    struct delivery_rcpt any = {.address = VR_STR("例え／..@any.test")}; /* a slash of full width is none */
    d = delivery(ANY, &any, 1);
    d.reverse_path = VR_STR("δοκιμή@παράδειγμα.δοκιμή");
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_PERMANENT, "5.1.3", "not well-formed"); /* two dots in a row */
    any.address = VR_STR("例え／x@any.test");
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    f = files_in(r, "any.test/例え／x/new");
    assert_int_equal(f.count, 1);
    assert_file(f.last, "Return-Path: <δοκιμή@παράδειγμα.δοκιμή>\nDelivered-To: 例え／x@any.test\n"
                        "Received: from test\nSubject: hello\n\nbody\n.dot\n");
}

static void test_names_that_lead_away(void **state)
{
    struct rig *r = *state;
    static const char *const names[] = {"\"../ann\"@any.test",   "\"a/b\"@any.test", "\".hidden\"@any.test",
                                        "\"..\"@any.test",       "not an address",   "\"\"@any.test",
                                        "\"ö/../ann\"@any.test", "a\xc3@any.test",   "a\xc2\x85@any.test"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct delivery_rcpt to = {.address = vr_str_from(names[i])};
        struct delivery d = delivery(ANY, &to, 1);
        expect(rig_deliver(r, &d, -1), 0, DELIVERY_PERMANENT, "5.1.3", "");
    }
    assert_int_equal(files_in(r, "any.test").count, 0);
    assert_int_equal(files_in(r, "ann").count, 0);
}

static void test_trouble(void **state)
{
    struct rig *r = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/any.test", r->folder);
    assert_int_equal(io_fs_replace_file(path, VR_STR("a file stands where the folder should be"), 0600), 0);
    struct delivery_rcpt to = {.address = VR_STR("ann@any.test")};
    struct delivery d = delivery(ANY, &to, 1);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_TEMPORARY, "4.2.0", "cannot be written");
    assert_int_equal(unlink(path), 0);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    /* a mailbox that is removed while it is known is made again */
    folder_remove(path);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    assert_int_equal(files_in(r, "any.test/ann/new").count, 1);
}

/* Whatever the disk refuses: the queue keeps the message and tries again, and nothing of it stands in new or tmp. */
static void test_disk(void **state)
{
    struct rig *r = *state;
    static const struct {
        enum fault fault;
        int status;
        const char *enhanced, *words;
    } rows[] = {
        {FAULT_WRITE, -ENOSPC, "4.3.1", "the disk of the mailbox is full"},
        {FAULT_WRITE, -EDQUOT, "4.2.2", "the mailbox is full"},
        {FAULT_WRITE, -EIO, "4.2.0", "the log of this server says why"},
        {FAULT_OPEN, -EACCES, "4.2.0", "cannot be written"},
        {FAULT_OPEN, -ENOSPC, "4.3.1", ""},
        {FAULT_OPEN, -EROFS, "4.2.0", ""},
        {FAULT_SYNC, -EIO, "4.2.0", ""},
        {FAULT_SYNC, -ENOSPC, "4.3.1", ""}, /* file systems that find their blocks late */
        {FAULT_RENAME, -EACCES, "4.2.0", ""},
        {FAULT_SYNC_DIRECTORY, -EIO, "4.2.0", ""},
    };
    struct delivery_rcpt to = {.address = VR_STR("ann@any.test")};
    for (int known = 0; known < 2; known++) { /* in a new Maildir, and in one that is known to stand */
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            struct delivery d = delivery(ANY, &to, 1);
            disk_fails(rows[i].fault, "/new", rows[i].status);
            expect(rig_deliver(r, &d, -1), 0, DELIVERY_TEMPORARY, rows[i].enhanced, rows[i].words);
            assert_int_equal(files_in(r, "any.test/ann/new").count, known);
            assert_int_equal(files_in(r, "any.test/ann/tmp").count, 0);
        }
        struct delivery d = delivery(ANY, &to, 1);
        disk_fails(NO_FAULT, "", 0);
        expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
        assert_int_equal(files_in(r, "any.test/ann/new").count, known + 1);
    }
}

/* A new Maildir is durable with its parents before anything in it counts as delivered; later only new is synced. */
static void test_new_folders_are_durable(void **state)
{
    struct rig *r = *state;
    struct delivery_rcpt to = {.address = VR_STR("ann@any.test")}, bob = {.address = VR_STR("bob@any.test")},
                         eve = {.address = VR_STR("eve@any.test")};
    struct delivery d = delivery(ANY, &to, 1);
    disk_fails(FAULT_SYNC_DIRECTORY, "/any.test", -EIO);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_TEMPORARY, "4.2.0", "");
    assert_int_equal(files_in(r, "any.test/ann/new").count, 0);
    disk_fails(NO_FAULT, "", 0);
    unsigned above = 1; /* the folders above any.test */
    const char *stands = files_in(r, "any.test").folder;
    for (const char *c = stands + 1; *c != '\0'; c++)
        above += *c == '/';
    folder_remove(stands);
    const struct {
        struct delivery_rcpt *to;
        unsigned synced;
    } rows[] = {
        {&to, above + 3},            /* any.test, ann, new: nothing is known yet */
        {&to, 1},         {&bob, 3}, /* any.test is durable, and has a new name in it */
        {&bob, 1},        {&eve, 3}, /* made by somebody who may have died before it was synced */
        {&eve, 1},
    };
    char made[512];
    for (size_t i = 0; i < 3; i++) {
        snprintf(made, sizeof made, "%s/eve/%s", stands, (const char *[]){"tmp", "new", "cur"}[i]);
        assert_int_equal(io_fs_mkdir_all(made, 0700), 0);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        d = delivery(ANY, rows[i].to, 1);
        disk->synced = 0;
        expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
        assert_int_equal(disk->synced, rows[i].synced);
    }
    disk_fails(FAULT_SYNC_DIRECTORY, "/any.test",
               -EACCES); /* somebody else's folder that may be entered, not read */
    to.address = VR_STR("carl@any.test");
    d = delivery(ANY, &to, 1);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
}

/* Without privileges: what the permissions of a folder forbid. */
static void test_permission(void **state)
{
    struct rig *r = *state;
    char path[128];
    if (geteuid() == 0)
        skip(); /* nothing is forbidden to root; test_disk has EACCES for everybody */
    snprintf(path, sizeof path, "%s/any.test", r->folder);
    assert_int_equal(mkdir(path, 0500), 0);
    struct delivery_rcpt to = {.address = VR_STR("ann@any.test")};
    struct delivery d = delivery(ANY, &to, 1);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_TEMPORARY, "4.2.0", "cannot be written");
    assert_int_equal(chmod(path, 0700), 0);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
}

static void test_postmaster(void **state)
{
    struct rig *r = *state;
    struct delivery_rcpt to = {.address = VR_STR("postmaster")};
    struct delivery d = delivery(UINT32_MAX, &to, 1);
    expect(rig_deliver(r, &d, -1), 0, DELIVERY_OK, "2.0.0", "");
    assert_int_equal(files_in(r, "postmaster/new").count, 1);
}

/* What is under way is told to a new queue, and finished before the end. */
static void test_drain(void **state)
{
    struct rig *r = *state;
    struct delivery_rcpt to = {.address = VR_STR("silence@accounts.test")},
                         ann = {.address = VR_STR("ann@any.test")};
    struct delivery waiting = delivery(ACCOUNTS, &to, 1), late = delivery(ANY, &ann, 1);
    rig_deliver_by(r, 0, &waiting, -1);
    rig_until(r, asked_count == 1);
    rig_attach(r, 3, IPC_QUEUE);
    rig_until(r, r->inflight_frames == 2);
    assert_int_equal(r->inflight_count, 1);
    assert_int_equal(r->inflight[0].message, waiting.message);
    rig_drain(r, 5000);
    run_for(r->io, 50);
    assert_false(r->gone); /* a recipient has no answer yet */
    rig_deliver_by(r, 3, &late, -1);
    rig_until(r, r->result_count == 1);
    expect(&r->results[0], 0, DELIVERY_CANCELLED, "4.3.2", "");
    kill(r->child, SIGKILL);
    assert_int_equal(waitpid(r->child, NULL, 0), r->child);
    r->child = 0;
}

static void test_drain_ends(void **state)
{
    struct rig *r = *state;
    struct delivery_rcpt to = {.address = VR_STR("ann@any.test")};
    struct delivery d = delivery(ANY, &to, 1);
    rig_deliver(r, &d, -1);
    rig_drain(r, 5000);
    rig_gone(r);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_one),         T(test_bytes),        T(test_large),
        T(test_binary),      T(test_large_binary), T(test_junk),
        T(test_many),        T(test_accounts),     T(test_answered_twice),
        T(test_keeper_dies), T(test_beyond_ascii), T(test_names_that_lead_away),
        T(test_trouble),     T(test_disk),         T(test_new_folders_are_durable),
        T(test_permission),  T(test_postmaster),   T(test_drain),
        T(test_drain_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
