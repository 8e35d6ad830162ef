/* user.c - the user data base (nsswitch), the host's name, the process.
 *
 * Tests: tests/unit/io_fs.c
 */
#include "io/fs.h"

#include <errno.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ENTRY_MAX 16384 /* a passwd entry with all its texts */

static int fill(int error, const struct passwd *found, struct io_user *out)
{
    if (found == NULL)
        return error != 0 && error != ESRCH && error != EBADF && error != EPERM ? -error : -ENOENT;
    *out = (struct io_user){.uid = found->pw_uid, .gid = found->pw_gid};
    if (strlen(found->pw_name) >= sizeof out->name || strlen(found->pw_dir) >= sizeof out->home)
        return -ENAMETOOLONG;
    snprintf(out->name, sizeof out->name, "%s", found->pw_name);
    snprintf(out->home, sizeof out->home, "%s", found->pw_dir);
    return 0;
}

int io_user_by_name(const char *name, struct io_user *out)
{
    char texts[ENTRY_MAX];
    struct passwd entry, *found = NULL;
    int error = getpwnam_r(name, &entry, texts, sizeof texts, &found); /* before `found` is read as an argument */
    return fill(error, found, out);
}

int io_user_by_id(uint32_t uid, struct io_user *out)
{
    char texts[ENTRY_MAX];
    struct passwd entry, *found = NULL;
    int error = getpwuid_r(uid, &entry, texts, sizeof texts, &found); /* before `found` is read as an argument */
    return fill(error, found, out);
}

int io_host_name(char *out, size_t n)
{
    char name[256];
    if (gethostname(name, sizeof name) != 0)
        return -errno;
    name[sizeof name - 1] = '\0';
    if (strchr(name, '.') == NULL) {
        /* hostname(1) -f does the same: /etc/hosts or the DNS may know the full name. */
        struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM}, *found = NULL;
        if (getaddrinfo(name, NULL, &hints, &found) == 0) {
            if (found->ai_canonname != NULL && strchr(found->ai_canonname, '.') != NULL)
                snprintf(name, sizeof name, "%s", found->ai_canonname);
            freeaddrinfo(found);
        }
    }
    return snprintf(out, n, "%s", name) < (int)n ? 0 : -ENAMETOOLONG;
}

int io_process_id(void)
{
    return (int)getpid();
}
