/* terminal.c - see terminal.h. termios and plain reads. */
#include "io/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define CHUNK 65536

unsigned io_terminal_width(int fd)
{
    struct winsize size;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

uint32_t io_terminal_user(void)
{
    return getuid();
}

int64_t io_terminal_read(int fd, void *p, size_t n)
{
    ssize_t got;
    do
        got = read(fd, p, n);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

int io_terminal_read_all(int fd, struct vr_buf *out)
{
    for (;;) {
        char chunk[CHUNK];
        int64_t got = io_terminal_read(fd, chunk, sizeof chunk);
        if (got <= 0)
            return (int)got;
        if (!vr_buf_add(out, vr_str(chunk, (size_t)got)))
            return -EFBIG;
    }
}

int io_terminal_read_line(int fd, struct vr_buf *out)
{
    bool any = false;
    for (;;) {
        char c;
        int64_t got = io_terminal_read(fd, &c, 1); /* one by one: what follows the line is somebody else's */
        if (got < 0)
            return (int)got;
        if (got == 0 && !any)
            return -ENODATA;
        if (got == 0 || c == '\n')
            break;
        any = true;
        if (!vr_buf_add_byte(out, c))
            return -EFBIG;
    }
    struct vr_str line = vr_buf_str(out);
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        out->end--;
    return 0;
}

/* Ctrl-C while the echo is off must not leave the terminal mute: the signals wait until it is back. */
static void hold_signals(sigset_t *before)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    sigaddset(&held, SIGTSTP);
    sigprocmask(SIG_BLOCK, &held, before);
}

int io_terminal_secret(const char *prompt, struct vr_buf *out)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -ENXIO;
    struct termios shown, hidden;
    sigset_t before;
    if (tcgetattr(fd, &shown) != 0) {
        close(fd);
        return -ENXIO;
    }
    hold_signals(&before);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ISIG); /* without ISIG Ctrl-C is a byte, seen below */
    hidden.c_lflag |= ICANON;
    hidden.c_cc[VEOL] = 3; /* … which ends the line */
    tcsetattr(fd, TCSAFLUSH, &hidden);
    ssize_t shown_prompt = write(fd, prompt, strlen(prompt));
    (void)shown_prompt;
    int status = 0;
    for (bool done = false; !done && status == 0;) {
        char c;
        int64_t got = io_terminal_read(fd, &c, 1);
        if (got <= 0 || c == 3)
            status = -ECANCELED;
        else if (c == '\n')
            done = true;
        else if (!vr_buf_add_byte(out, c))
            status = -EFBIG;
    }
    tcsetattr(fd, TCSAFLUSH, &shown);
    ssize_t line_end = write(fd, "\n", 1);
    (void)line_end;
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(fd);
    return status;
}
