/* dkim_store.h - DKIM's private keys: one file for each domain in <state>/dkim, which `veredus dkim` writes and the keeper reads.
 *
 * A domain has a ring of keys, each under a selector of its own. When a key signs is written with it, as times, so a rotation needs nobody who is awake at
 * its moment:
 *
 *     WAITING --(from)--> SIGNING --(until)--> RETIRING --(keep)--> RETIRED
 *     record published    signs               its signatures are    its record may go, and so may the key
 *                                             still on their way
 *
 * Of each algorithm one key signs at a time; with one of each a message has two signatures (RFC 8463 §3).
 * A file is replaced as a whole: who reads it has the keys of before or of after. All calls block.
 * Tests: tests/unit/dkim_store.c, tests/fuzz/fuzz_dkim_store.c, tests/e2e/test_sign.py
 */
#ifndef KEEPER_DKIM_STORE_H
#define KEEPER_DKIM_STORE_H

#include <veredus/dkim.h>

#define DKIM_STORE_FOLDER "dkim" /* in config.state: 0700, the keeper's */
#define DKIM_STORE_KEYS   16     /* of one domain */
#define DKIM_STORE_RECORD 2048   /* bytes of a record's text */
#define DKIM_NEVER        INT64_MAX
#define DKIM_BITS_NEW     2048 /* the least of a new RSA key (RFC 8301 §3.2) */
#define DKIM_BITS_MOST    4096 /* of a new one: a longer one's record does not fit everywhere, and each signature costs more */

enum dkim_phase { DKIM_WAITING, DKIM_SIGNING, DKIM_RETIRING, DKIM_RETIRED };
const char *dkim_phase_name(enum dkim_phase p); /* "published", "active", "retiring", "retired" */

struct dkim_stored {
    struct vr_str selector; /* A-labels, lower case */
    struct dkim_key *key;
    int64_t created;           /* seconds since 1970, as all here */
    int64_t from, until, keep; /* signs from, until; its record is needed until `keep`. DKIM_NEVER: nobody has said yet */
};
enum dkim_phase dkim_phase_of(const struct dkim_stored *k, int64_t now);
bool dkim_is_weak(const struct dkim_stored *k); /* RSA below 2048 bits */

struct dkim_ring {
    struct vr_arena arena;
    struct vr_str domain; /* A-labels, lower case */
    struct dkim_stored keys[DKIM_STORE_KEYS];
    size_t count;
};

enum dkim_store_result {
    DKIM_STORE_OK,
    DKIM_STORE_SAME,    /* only dkim_store_reload: nothing has changed */
    DKIM_STORE_NONE,    /* no key of this domain (or no such key) */
    DKIM_STORE_INVALID, /* what was given is no name, no key, or there already */
    DKIM_STORE_TROUBLE  /* the file cannot be read or written, or is not what we wrote */
};
/* Results other than OK and NONE come with a sentence in `error` that says what to do. */
#define DKIM_STORE_ERROR 512

/* As the DNS knows it and the store names its files. INVALID: no domain. */
enum dkim_store_result dkim_store_domain(struct vr_arena *arena, struct vr_str domain, struct vr_str *out, char error[DKIM_STORE_ERROR]);

/* ---- a ring of keys ------------------------------------------------------------------------------------------------------------------- */

/* Without keys. domain: of dkim_store_domain. NULL: out of memory. */
struct dkim_ring *dkim_ring_new(struct vr_str domain);
void dkim_ring_free(struct dkim_ring *r); /* and wipes its keys; NULL is fine */
/* Adds a key: text as dkim_key_load takes it. INVALID: the selector is none or is taken, its record's name is too long, the key is none that may sign, or
 * there is no room. *out (may be NULL) lives with the ring, its times are to be set: `created` now, all others DKIM_NEVER. */
enum dkim_store_result dkim_ring_add(struct dkim_ring *r, struct vr_str selector, struct vr_str text, int64_t now, struct dkim_stored **out,
                                     char error[DKIM_STORE_ERROR]);
struct dkim_stored *dkim_ring_find(struct dkim_ring *r, struct vr_str selector); /* NULL: there is none */
/* What it was to replace at a time that has not come yet goes on signing. */
void dkim_ring_remove(struct dkim_ring *r, struct dkim_stored *k, int64_t now);
/* The key that signs with this algorithm at that time: of several the one that began last. NULL: none does. */
struct dkim_stored *dkim_ring_signer(struct dkim_ring *r, enum dkim_algorithm a, int64_t now);
/* From `at` on `next` signs, and what signed with its algorithm does no more; the records of those are needed for `keep` seconds longer. */
void dkim_ring_activate(struct dkim_ring *r, struct dkim_stored *next, int64_t at, int64_t keep);

/* The file's text, to be wiped by the caller; and back: TROUBLE names the line. */
bool dkim_ring_write(const struct dkim_ring *r, struct vr_buf *out);
enum dkim_store_result dkim_ring_parse(struct vr_str domain, struct vr_str text, struct dkim_ring **out, char error[DKIM_STORE_ERROR]);

/* ---- the files ------------------------------------------------------------------------------------------------------------------------- */

struct dkim_owner { /* whom the files are given to; as_caller: they stay with who makes them */
    bool as_caller;
    uint32_t uid, gid;
};

/* state: the folder of config.state; domain: of dkim_store_domain. *out is to be freed. */
enum dkim_store_result dkim_store_load(const char *state, struct vr_str domain, struct dkim_ring **out, char error[DKIM_STORE_ERROR]);
/* The same, unless the file is what it was: *version is that of the call before (0: there was none), and is set also when there is no key. */
enum dkim_store_result dkim_store_reload(const char *state, struct vr_str domain, uint64_t *version, struct dkim_ring **out, char error[DKIM_STORE_ERROR]);
/* Without keys the file goes. Durable when it returns. */
enum dkim_store_result dkim_store_save(const char *state, const struct dkim_ring *r, struct dkim_owner owner, char error[DKIM_STORE_ERROR]);
/* What is read, changed and written meanwhile is nobody else's: a descriptor to be closed by io_fs_close, which makes the folder where there is none. Negative: error
 * says why; another is at it, or it may not be written. */
int dkim_store_lock(const char *state, struct dkim_owner owner, char error[DKIM_STORE_ERROR]);
/* Each domain that has a file, in no order; stops when `each` returns false. NONE: there is no folder. */
enum dkim_store_result dkim_store_domains(const char *state, bool (*each)(void *arg, struct vr_str domain), void *arg, char error[DKIM_STORE_ERROR]);

/* ---- what is to be published -------------------------------------------------------------------------------------------------------------- */

struct dkim_published {
    struct vr_str name;  /* "selector._domainkey.example.org", without a dot at its end */
    struct vr_str value; /* "v=DKIM1; k=rsa; p=…", one string of any length */
    struct vr_str selector;
    enum dkim_algorithm algorithm;
    unsigned bits;
    enum dkim_phase phase; /* RETIRED: it need not be published any more */
};
/* The records of all keys of a domain (any form of its name), in the order in which the keys were made; in the arena. NONE: it has none, *count is 0. */
enum dkim_store_result dkim_store_records(const char *state, struct vr_str domain, int64_t now, struct vr_arena *arena, const struct dkim_published **out,
                                          size_t *count, char error[DKIM_STORE_ERROR]);
/* Appends a record as a zone file has it, its text in strings of at most 255 octets (RFC 1035 §3.3.14), with a line end. */
bool dkim_zone_line(struct vr_buf *out, const struct dkim_published *p);

/* A new private key in PEM, to be wiped by the caller. bits: of RSA, DKIM_BITS_NEW to DKIM_BITS_MOST. False: OpenSSL could not make it. */
bool dkim_key_make(enum dkim_algorithm a, unsigned bits, struct vr_buf *out);

#endif
