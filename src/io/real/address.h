/* address.h - between struct io_address and the kernel's sockaddr. Internal to src/io/real/. */
#ifndef IO_REAL_ADDRESS_H
#define IO_REAL_ADDRESS_H

#include "io/stream.h"

#include <sys/socket.h>

socklen_t address_to_sockaddr(const struct io_address *a, struct sockaddr_storage *out);
void address_from_sockaddr(const struct sockaddr *sa, socklen_t n, struct io_address *out);

#endif
