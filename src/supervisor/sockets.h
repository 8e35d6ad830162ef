/* sockets.h - the listening sockets, bound by the supervisor and inherited by receivers and admin. Internal
 * to src/supervisor/. */
#ifndef SUPERVISOR_SOCKETS_H
#define SUPERVISOR_SOCKETS_H

#include "config/config.h"

/* One address, with a socket for each receiver (SO_REUSEPORT), so that the kernel spreads connections. */
struct socket_set {
    struct io_address address;
    int *fds;
    unsigned count;
    bool taken; /* while comparing at a reload */
};
struct sockets {
    struct socket_set *listeners; /* in the order of the configuration */
    size_t count;
    int submit;  /* <run>/submit, for sendmail(1); mode 0666 */
    int control; /* <run>/control, for veredus queue; mode 0600 */
};

/* Binds what `c` asks for, taking over from `old` (may be NULL) what stays the same. On failure nothing
 * changes, `error` tells address and reason. */
bool sockets_open(struct sockets *s, struct sockets *old, const struct config *c, unsigned receivers,
                  char error[256]);
void sockets_close(struct sockets *s);

#endif
