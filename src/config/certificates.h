/* certificates.h - the certificates and keys of the `tls` sections as bytes, and how they follow their files.
 *
 * Promise:    what is held here can be used: the key belongs to its certificate. A file that is broken, half written or gone changes nothing,
 *             and is told once.
 * Who has it: the supervisor, which watches the files and gives children what it has: receivers by fork and by frames, admin without
 *             keys. So a receiver that is started again shows what its brothers show, whatever stands in the files by then.
 * Tests:      tests/unit/certificates.c, tests/e2e/test_certificates.py
 */
#ifndef CONFIG_CERTIFICATES_H
#define CONFIG_CERTIFICATES_H

#include "config/config.h"

#include "io/fs.h"

#define CERTIFICATE_FILE_MAX (256u << 10)

struct certificate_stamp { /* by which a file that was changed is known */
    int status;            /* 0, or why it cannot be looked at */
    uint64_t size, inode;
    int64_t mtime_us;
};

struct certificate {
    const char *names; /* of the section, blank-separated; "" of the self-signed one */
    const char *chain_path, *key_path;
    struct vr_buf chain, key;          /* PEM. The key is empty in who has no business with it */
    struct certificate_stamp known[2]; /* of the two files, when they were read last */
    struct certificate_stamp fresh[2]; /* … when they were looked at last */
};

struct certificates {
    struct certificate
        *items; /* in the order of the configuration; without a tls section one, the self-signed in `state` */
    size_t count;
    char self_signed[2][512];
};

/* Reads all that c names; paths and names stay c's. NULL: *error is a sentence that names the file. */
struct certificates *certificates_load(const struct config *c, char error[256]);
/* Wipes the keys. */
void certificates_forget_keys(struct certificates *all);
void certificates_free(struct certificates *all); /* keys are wiped; NULL is fine */

enum certificates_news {
    CERTIFICATES_SAME,
    CERTIFICATES_REPLACED, /* the item holds another pair now */
    CERTIFICATES_REFUSED /* the files were changed, and cannot be used: *error says why. The item is as it was */
};
/* Looks at the files of one item. A change counts when it is the same at two looks: who writes certificate and key one after the other, or a
 * file in pieces, has the time between two looks for it. */
enum certificates_news certificates_look(struct certificates *all, size_t i, char error[256]);

/* As io_tls_server and io_tls_replace want it; points into the item. */
struct io_tls_certificate certificate_pair(const struct certificate *c);

#endif
