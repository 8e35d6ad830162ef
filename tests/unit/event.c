/* event.c - tests of src/event: lines as key=value and as JSON, whatever strangers put into them.
 *
 * Standard error is turned into a file while a log writes; cmocka gets it back for its own words.
 */
#include "io_testing.h"

#include "event/event.h"
#include "io/env.h"
#include "io/fs.h"
#include "ipc/ipc.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define VALUE_MAX 1024 /* src/event/event.c */

static struct {
    int saved, file;
    char text[2 << 20];
    size_t n;
} captured;

static void capture_begin(void)
{
    captured.file = memfd_create("event", MFD_CLOEXEC);
    captured.saved = dup(2);
    assert_true(captured.file >= 0 && captured.saved >= 0);
    assert_int_equal(dup2(captured.file, 2), 2);
}

static const char *capture_end(void)
{
    assert_int_equal(dup2(captured.saved, 2), 2);
    close(captured.saved);
    ssize_t n = pread(captured.file, captured.text, sizeof captured.text - 1, 0);
    assert_true(n >= 0);
    close(captured.file);
    captured.n = (size_t)n;
    captured.text[n] = '\0';
    return captured.text;
}

/* One line with one value, as the format has it. */
static const char *line_with(enum event_format format, struct vr_str value)
{
    capture_begin();
    struct event_log *l = event_log_new(NULL, "test", format, EVENT_DEBUG);
    event_begin(l, EVENT_INFO, "thing.happened", 0);
    event_str(l, "value", value);
    event_u64(l, "after", 7);
    event_end(l);
    event_log_free(l);
    return capture_end();
}

/* What stands for the value in the line as key=value. */
static void is_written(struct vr_str value, const char *written)
{
    const char *line = line_with(EVENT_KEY_VALUE, value);
    const char *from = strstr(line, " info test thing.happened value=");
    assert_non_null(from);
    from += strlen(" info test thing.happened value=");
    char expected[4096];
    snprintf(expected, sizeof expected, "%s after=7\n", written);
    assert_string_equal(from, expected);
}

/* The line as an object; it is one line and nothing else. */
static json_t *parsed(const char *line)
{
    json_error_t error;
    assert_true(captured.n > 0);
    assert_int_equal(line[captured.n - 1], '\n');
    assert_null(memchr(line, '\n', captured.n - 1));
    json_t *o = json_loadb(line, captured.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (o == NULL)
        fail_msg("%s at column %d of %s", error.text, error.column, line);
    assert_true(json_is_object(o));
    return o;
}

static void expect_json(struct vr_str value, struct vr_str read_back)
{
    json_t *o = parsed(line_with(EVENT_JSON, value));
    json_t *v = json_object_get(o, "value");
    assert_true(json_is_string(v));
    assert_int_equal(json_string_length(v), read_back.n);
    assert_memory_equal(json_string_value(v), read_back.p, read_back.n);
    assert_int_equal(json_integer_value(json_object_get(o, "after")), 7);
    json_decref(o);
}

/* ---- one value -------------------------------------------------------------------------------------------------- */

static void plain_values_stand_bare(void **state)
{
    (void)state;
    is_written(VR_STR("a@b.example"), "a@b.example");
    is_written(VR_STR("mx:example.org"), "mx:example.org");
    is_written(VR_STR("'<>{}[]#;,%$~`^|&*()!?/+-_.:"), "'<>{}[]#;,%$~`^|&*()!?/+-_.:");
    is_written(VR_STR("%s%n%999999d"), "%s%n%999999d");
}

static void others_are_quoted(void **state)
{
    (void)state;
    is_written(VR_STR(""), "\"\"");
    is_written(vr_str(NULL, 0), "\"\"");
    is_written(VR_STR("250 2.0.0 Ok"), "\"250 2.0.0 Ok\"");
    is_written(VR_STR("x level=error"), "\"x level=error\"");
    is_written(VR_STR("a=b"), "\"a=b\"");
    is_written(VR_STR("\"a b\"@c"), "\"\\\"a b\\\"@c\"");
    is_written(VR_STR("\" after=8 x=\""), "\"\\\" after=8 x=\\\"\"");
    is_written(VR_STR("C:\\x"), "\"C:\\\\x\"");
    is_written(VR_STR("\\"), "\"\\\\\"");
}

static void nothing_ends_the_line(void **state)
{
    (void)state;
    is_written(VR_STR("a\nb"), "\"a\\x0ab\"");
    is_written(VR_STR("a\r\nerror test fake.event"), "\"a\\x0d\\x0aerror test fake.event\"");
    is_written(VR_STR("a\0b"), "\"a\\x00b\"");
    is_written(VR_STR("\t\v\f\x7f"), "\"\\x09\\x0b\\x0c\\x7f\"");
    is_written(VR_STR("\x1b]0;title\x07\x1b[2J"), "\"\\x1b]0;title\\x07\\x1b[2J\"");
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        const char *line = line_with(EVENT_KEY_VALUE, vr_str(&byte, 1));
        assert_ptr_equal(memchr(line, '\n', captured.n), line + captured.n - 1);
        for (size_t i = 0; i + 1 < captured.n; i++)
            assert_true((unsigned char)line[i] >= ' ' && (unsigned char)line[i] < 0x7f);
    }
}

static void text_beyond_ascii(void **state)
{
    (void)state;
    is_written(VR_STR("gr\xc3\xbc\xc3\x9f@b\xc3\xbc"
                      "cher.example"),
               "\"gr\xc3\xbc\xc3\x9f@b\xc3\xbc"
               "cher.example\"");
    is_written(VR_STR("\xe2\x82\xac \xf0\x9f\x93\xa7"), "\"\xe2\x82\xac \xf0\x9f\x93\xa7\"");
    is_written(VR_STR("gr\xfc\xdf"), "\"gr\\xfc\\xdf\""); /* Latin-1: no UTF-8 */
    is_written(VR_STR("\xc3"), "\"\\xc3\"");
    is_written(VR_STR("\xc0\x8a"), "\"\\xc0\\x8a\""); /* an overlong LF */
    /* letters in valid UTF-8 with something that is none beside them: all of it is escaped, nothing is guessed */
    is_written(VR_STR("\xc3\xbc\xff"), "\"\\xc3\\xbc\\xff\"");
    /* controls in valid UTF-8: CSI, NEXT LINE, line separator, right-to-left override, isolate */
    is_written(VR_STR("\xc2\x9b[2J"), "\"\\xc2\\x9b[2J\"");
    is_written(VR_STR("a\xc2\x85"
                      "b"),
               "\"a\\xc2\\x85b\"");
    is_written(VR_STR("\xe2\x80\xa8\xe2\x80\xa9"), "\"\\xe2\\x80\\xa8\\xe2\\x80\\xa9\"");
    is_written(VR_STR("\xe2\x80\xaegro.elpmaxe"), "\"\\xe2\\x80\\xaegro.elpmaxe\"");
    is_written(VR_STR("\xe2\x81\xa6x\xe2\x81\xa9"), "\"\\xe2\\x81\\xa6x\\xe2\\x81\\xa9\"");
    /* their neighbours are text: no-break space, horizontal ellipsis, figure dash, word joiner */
    is_written(VR_STR("\xc2\xa0\xe2\x80\xa6\xe2\x80\x92\xe2\x81\xa0"),
               "\"\xc2\xa0\xe2\x80\xa6\xe2\x80\x92\xe2\x81\xa0\"");
}

static void json_gives_back_what_was_put_in(void **state)
{
    (void)state;
    static const struct vr_str same[] = {
        VR_STR_INIT(""),
        VR_STR_INIT("plain"),
        VR_STR_INIT("a b=c"),
        VR_STR_INIT("\"},{\"x\":\""),
        VR_STR_INIT("\\u0041\\"),
        VR_STR_INIT("a\r\nb\0c\x1b[2J\x7f\t"),
        VR_STR_INIT("\xc2\x85\xc2\x9b\xe2\x80\xa8\xe2\x80\xae\xe2\x81\xa9"),
        VR_STR_INIT("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x93\xa7"),
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        expect_json(same[i], same[i]);
    expect_json(vr_str(NULL, 0), VR_STR(""));
    for (int c = 0; c < 256; c++) { /* bytes that are no UTF-8 are read as Latin-1 */
        char byte = (char)c, latin[2] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
        expect_json(vr_str(&byte, 1), c < 0x80 ? vr_str(&byte, 1) : vr_str(latin, 2));
    }
    expect_json(VR_STR("gr\xfc\xdf"), VR_STR("gr\xc3\xbc\xc3\x9f"));
    line_with(EVENT_JSON, VR_STR("\x1b\xc2\x9b\xe2\x80\xae\x7f"));
    for (size_t i = 0; i + 1 < captured.n; i++) /* and none of it is in the line as it is */
        assert_true((unsigned char)captured.text[i] >= ' ' && (unsigned char)captured.text[i] < 0x7f);
}

static void long_values_are_cut_and_marked(void **state)
{
    (void)state;
    static char text[VALUE_MAX + 100], expected[VALUE_MAX * 4 + 100];
    memset(text, 'x', sizeof text);
    memset(expected, 'x', sizeof expected);
    memcpy(expected + VALUE_MAX, "", 1);
    is_written(vr_str(text, VALUE_MAX), expected);
    memcpy(expected + VALUE_MAX, "...", 4);
    is_written(vr_str(text, VALUE_MAX + 1), expected);
    expect_json(vr_str(text, VALUE_MAX), vr_str(text, VALUE_MAX));
    expect_json(vr_str(text, VALUE_MAX + 1), vr_str(expected, VALUE_MAX + 3));
    /* not in the middle of a character: 1023 bytes, then one of four */
    memcpy(text + VALUE_MAX - 1, "\xf0\x9f\x93\xa7", 4);
    memcpy(expected + VALUE_MAX - 1, "...", 4);
    is_written(vr_str(text, VALUE_MAX + 3), expected);
    expect_json(vr_str(text, VALUE_MAX + 3), vr_str(expected, VALUE_MAX + 2));
    /* the most that one value can become: six bytes for each */
    memset(text, 0x1b, sizeof text);
    line_with(EVENT_JSON, vr_str(text, sizeof text));
    assert_true(captured.n < VALUE_MAX * 6 + 200);
    json_decref(parsed(captured.text));
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

static bool is_time(const char *s)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    for (size_t i = 0; shape[i] != '\0'; i++)
        if (shape[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != shape[i])
            return false;
    return true;
}

static void a_line_as_key_and_value(void **state)
{
    (void)state;
    capture_begin();
    struct event_log *l = event_log_new(NULL, "receiver", EVENT_KEY_VALUE, EVENT_INFO);
    event_begin(l, EVENT_NOTICE, "message.accepted", 1);
    event_text(l, "from", "a@b");
    event_text(l, "nothing", NULL);
    event_u64(l, "size", UINT64_MAX);
    event_end(l);
    event_begin(l, EVENT_ERROR, "process.broken", 0);
    event_end(l);
    event_log_free(l);
    const char *line = capture_end();
    assert_true(is_time(line));
    static const char first[] = " notice receiver message.accepted id=0000000000001 from=a@b nothing=\"\" "
                                "size=18446744073709551615\n";
    assert_memory_equal(line + 24, first, sizeof first - 1);
    line += 24 + sizeof first - 1;
    assert_true(is_time(line));
    assert_string_equal(line + 24, " error receiver process.broken\n");
}

static void a_line_as_json(void **state)
{
    (void)state;
    uint64_t last = 0, id = queue_id_next(&last, 1800000000000000, 3);
    char text[QUEUE_ID_TEXT];
    queue_id_text(id, text);
    capture_begin();
    struct event_log *l = event_log_new(NULL, "queue", EVENT_JSON, EVENT_DEBUG);
    event_begin(l, EVENT_WARNING, "delivery.deferred", id);
    event_str(l, "to", VR_STR("\"a b\"@c"));
    event_u64(l, "attempt", 3);
    event_end(l);
    event_log_free(l);
    json_t *o = parsed(capture_end());
    assert_int_equal(json_object_size(o), 7);
    assert_true(is_time(json_string_value(json_object_get(o, "time"))));
    assert_string_equal(json_string_value(json_object_get(o, "level")), "warning");
    assert_string_equal(json_string_value(json_object_get(o, "process")), "queue");
    assert_string_equal(json_string_value(json_object_get(o, "event")), "delivery.deferred");
    assert_string_equal(json_string_value(json_object_get(o, "id")), text);
    assert_string_equal(json_string_value(json_object_get(o, "to")), "\"a b\"@c");
    assert_int_equal(json_integer_value(json_object_get(o, "attempt")), 3);
    json_decref(o);
}

static void levels_below_are_silent(void **state)
{
    static const char *const names[] = {"debug", "info", "notice", "warning", "error"};
    (void)state;
    for (int level = EVENT_DEBUG; level <= EVENT_ERROR + 1; level++) {
        capture_begin();
        struct event_log *l = event_log_new(NULL, "test", EVENT_KEY_VALUE, (enum event_level)level);
        for (int i = EVENT_DEBUG; i <= EVENT_ERROR; i++) {
            event_begin(l, (enum event_level)i, "e", 0);
            event_text(l, "password",
                       "hidden"); /* a silenced line leaves no trace, a key of its value neither */
            event_u64(l, "n", 1);
            event_end(l);
        }
        event_log_free(l);
        const char *text = capture_end();
        for (int i = EVENT_DEBUG; i <= EVENT_ERROR; i++) {
            char word[16];
            snprintf(word, sizeof word, " %s test ", names[i]);
            assert_int_equal(strstr(text, word) != NULL, i >= level);
        }
        assert_int_equal(strstr(text, "hidden") != NULL, level <= EVENT_ERROR);
        assert_int_equal(captured.n == 0, level > EVENT_ERROR);
    }
}

/* A line of which somebody could decide how many values it has stays bounded, is whole, and the next one is as ever. */
static void lines_are_bounded(void **state)
{
    static char value[VALUE_MAX];
    (void)state;
    memset(value, 0x01, sizeof value);
    for (enum event_format format = EVENT_KEY_VALUE; format <= EVENT_JSON; format++) {
        capture_begin();
        struct event_log *l = event_log_new(NULL, "test", format, EVENT_DEBUG);
        for (int line = 0; line < 2; line++) {
            event_begin(l, EVENT_INFO, "e", 0);
            for (int i = 0; i < 2000 && line == 0; i++) {
                char key[16];
                snprintf(key, sizeof key, "key%d", i);
                event_str(l, key, vr_str(value, sizeof value));
                event_u64(l, key + 1, 1);
            }
            event_end(l);
        }
        event_log_free(l);
        char *text = (char *)(uintptr_t)capture_end(), *end = strchr(text, '\n');
        assert_non_null(end);
        size_t first = (size_t)(end - text);
        assert_true(first > 64 * 1024 && first < 80 * 1024);
        char *tail = end - (format == EVENT_JSON ? 13 : 8);
        assert_memory_equal(tail, format == EVENT_JSON ? ",\"cut\":\"yes\"}" : " cut=yes",
                            format == EVENT_JSON ? 13 : 8);
        assert_ptr_equal(strchr(end + 1, '\n'), text + captured.n - 1);
        assert_null(strstr(end + 1, "cut"));
        if (format == EVENT_JSON) {
            json_t *o = json_loadb(text, first, JSON_ALLOW_NUL, NULL);
            assert_non_null(o);
            json_decref(o);
        }
    }
}

/* ---- in a loop -------------------------------------------------------------------------------------------------- */

struct turn {
    struct io *io;
    struct event_log *log;
    int file; /* standard error's stand-in */
    off_t size_in_callback;
    int lines;
};

static void write_lines(void *arg)
{
    struct turn *t = arg;
    struct stat st;
    for (int i = 0; i < t->lines; i++) {
        event_begin(t->log, EVENT_INFO, "e", 0);
        event_u64(t->log, "i", (uint64_t)i);
        event_end(t->log);
    }
    assert_int_equal(fstat(t->file, &st), 0);
    t->size_in_callback = st.st_size;
    io_stop(t->io);
}

static void run_turn(struct turn *t, int lines)
{
    t->lines = lines;
    struct io_timer *timer = io_timer_new(t->io, write_lines, t);
    io_timer_start(timer, 1, 0);
    run_guarded(t->io);
    io_timer_free(timer);
}

static void lines_leave_at_the_end_of_the_turn(void **state)
{
    (void)state;
    struct turn t = {.io = io_new(1)};
    capture_begin();
    t.file = captured.file;
    t.log = event_log_new(t.io, "test", EVENT_KEY_VALUE, EVENT_DEBUG);
    run_turn(&t, 3);
    off_t waiting = t.size_in_callback;
    off_t written = lseek(captured.file, 0, SEEK_END);
    const int many = 4000; /* more than are gathered: whole lines leave before the end */
    run_turn(&t, many);
    off_t early = t.size_in_callback;
    char before = 0;
    (void)pread(captured.file, &before, 1, early - 1);
    event_log_free(t.log);
    t.log = event_log_new(NULL, "quiet", EVENT_KEY_VALUE, EVENT_ERROR);
    run_turn(&t, 1); /* the freed log's hook comes no more */
    event_log_free(t.log);
    const char *text = capture_end();
    io_free(t.io);
    assert_int_equal(waiting, 0);
    assert_true(written > 0);
    assert_true(early > written);
    assert_int_equal(before, '\n');
    int lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    assert_int_equal(lines, 3 + many);
}

/* ---- what standard error is ----------------------------------------------------------------------------------------- */

/* systemd sets JOURNAL_STREAM to device and inode; whoever is started below inherits it, also with another standard error. */
static void priorities_are_for_the_journal_alone(void **state)
{
    (void)state;
    for (int ours = 0; ours < 2; ours++) {
        capture_begin();
        struct stat st;
        char stream[64];
        assert_int_equal(fstat(2, &st), 0);
        snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + !ours);
        setenv("JOURNAL_STREAM", stream, 1);
        struct event_log *l = event_log_new(NULL, "test", EVENT_KEY_VALUE, EVENT_DEBUG);
        static const enum event_level levels[] = {EVENT_DEBUG, EVENT_ERROR};
        for (size_t i = 0; i < 2; i++) {
            event_begin(l, levels[i], "e", 0);
            event_end(l);
        }
        event_log_free(l);
        unsetenv("JOURNAL_STREAM");
        const char *text = capture_end(), *second = strchr(text, '\n') + 1;
        assert_int_equal(strncmp(text, "<7>", 3) == 0, ours);
        assert_int_equal(strncmp(second, "<3>", 3) == 0, ours);
        assert_true(is_time(text + (ours ? 3 : 0)));
    }
}

/* A terminal of our own in the place of standard error: what a line on it looks like. */
static bool coloured_on_terminal(const char *no_color, const char *term)
{
    char bytes[512];
    int keyboard = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(keyboard >= 0 && grantpt(keyboard) == 0 && unlockpt(keyboard) == 0);
    int screen = open(ptsname(keyboard), O_RDWR | O_NOCTTY | O_CLOEXEC), saved = dup(2);
    assert_true(screen >= 0 && saved >= 0);
    setenv("TERM", term, 1);
    if (no_color != NULL)
        setenv("NO_COLOR", no_color, 1);
    else
        unsetenv("NO_COLOR");
    dup2(screen, 2);
    struct event_log *l = event_log_new(NULL, "test", EVENT_KEY_VALUE, EVENT_DEBUG);
    event_begin(l, EVENT_ERROR, "e", 0);
    event_end(l);
    event_log_free(l);
    dup2(saved, 2);
    close(saved);
    ssize_t n = read(keyboard, bytes, sizeof bytes);
    close(screen);
    close(keyboard);
    assert_true(n > 24);
    return memmem(bytes, (size_t)n, "\033[31merror\033[0m", 14) != NULL;
}

static void colours_are_for_terminals_that_have_them(void **state)
{
    (void)state;
    assert_true(coloured_on_terminal(NULL, "xterm"));
    assert_true(coloured_on_terminal("", "xterm"));
    assert_false(coloured_on_terminal("1", "xterm"));
    assert_false(coloured_on_terminal(NULL, "dumb"));
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    is_written(VR_STR("x"), "x"); /* a file */
    assert_null(strchr(captured.text, '\033'));
}

int main(void)
{
    unsetenv("JOURNAL_STREAM");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_values_stand_bare),
        cmocka_unit_test(others_are_quoted),
        cmocka_unit_test(nothing_ends_the_line),
        cmocka_unit_test(text_beyond_ascii),
        cmocka_unit_test(json_gives_back_what_was_put_in),
        cmocka_unit_test(long_values_are_cut_and_marked),
        cmocka_unit_test(a_line_as_key_and_value),
        cmocka_unit_test(a_line_as_json),
        cmocka_unit_test(levels_below_are_silent),
        cmocka_unit_test(lines_are_bounded),
        cmocka_unit_test(lines_leave_at_the_end_of_the_turn),
        cmocka_unit_test(priorities_are_for_the_journal_alone),
        cmocka_unit_test(colours_are_for_terminals_that_have_them),
    };
    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
