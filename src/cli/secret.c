/* secret.c - see secret.h.
 *
 * Tests: tests/e2e/test_tools.py, tests/e2e/test_auth.py
 */
#include "cli/secret.h"

#include "cli/cli.h"
#include "io/fs.h"
#include "io/io.h"
#include "io/terminal.h"

#include <errno.h>
#include <stdio.h>
#include <sysexits.h>

/* Growing would leave copies behind. */
static int read_first_line(const char *path, struct vr_buf *out)
{
    vr_buf_reserve(out, out->max);
    int status = io_fs_read_file(path, out);
    size_t end = vr_str_find(vr_buf_str(out), '\n');
    if (end != VR_NPOS)
        out->end = out->start + end;
    if (vr_buf_size(out) > 0 && out->p[out->end - 1] == '\r')
        out->end--;
    return status;
}

static const char *why_not(int status, bool standard_input)
{
    if (status == -EFBIG)
        return "it is too long";
    if (standard_input)
        return "standard input is empty";
    return status == -ECANCELED ? "stopped"
                                : "there is no terminal to ask on; use --password-stdin or --password-file";
}

bool secret_read(const struct secret_options *o, struct vr_buf *out, int *code)
{
    int status;
    char prompt[400];
    snprintf(prompt, sizeof prompt, "Password for %s: ", o->user != NULL ? o->user : "");
    if (o->file != NULL)
        status = read_first_line(o->file, out);
    else if (o->standard_input)
        status = io_terminal_read_line(IO_STDIN, out);
    else
        status = io_terminal_secret(prompt, out);
    if (status == 0)
        return true;
    *code = o->file != NULL || o->standard_input ? EX_NOINPUT : EX_USAGE;
    if (o->file != NULL)
        fprintf(stderr, "veredus send: cannot read the %s from %s: %s\n", o->what, o->file,
                io_error_text(status));
    else
        fprintf(stderr, "veredus send: no %s: %s\n", o->what, why_not(status, o->standard_input));
    return false;
}
