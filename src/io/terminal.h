/* terminal.h - the person at the command line: standard input as it comes, secrets typed without echo. For commands, not for processes of
 * the server: all calls block.
 */
#ifndef IO_TERMINAL_H
#define IO_TERMINAL_H

#include <veredus/base.h>

#define IO_STDIN  0
#define IO_STDOUT 1
#define IO_STDERR 2

/* Columns of the terminal that fd is; 80 when it is none. */
unsigned io_terminal_width(int fd);
/* Shows the prompt on the terminal and reads one line without echo (/dev/tty, whatever standard input is); the echo is back after it, also after Ctrl-C
 * (-ECANCELED). 0; -ENXIO: there is no terminal; -ECANCELED: end of input without a line; -EFBIG: longer than out's max. */
int io_terminal_secret(const char *prompt, struct vr_buf *out);
/* Reads what is there (at least a byte, else waits). 0 at the end, else the count or a negative errno. */
int64_t io_terminal_read(int fd, void *p, size_t n);
/* All of it. -EFBIG when it is more than out's max. */
int io_terminal_read_all(int fd, struct vr_buf *out);
/* Up to the line end (LF, or CR LF), which is not part of it; reads no further. -ENODATA: the input is at its end. */
int io_terminal_read_line(int fd, struct vr_buf *out);
/* Who runs this program: the real user id. */
uint32_t io_terminal_user(void);

#endif
