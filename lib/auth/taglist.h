/* taglist.h - "tag=value; tag=value" lists of DKIM signatures and keys, ARC and DMARC (RFC 6376 §3.2). */
#ifndef AUTH_TAGLIST_H
#define AUTH_TAGLIST_H

#include <veredus/base.h>

#define TAGS_MAX 64

struct tag {
    struct vr_str name;
    struct vr_str value; /* without the blanks around it; blanks and line ends inside are kept */
    struct vr_str space; /* all between "=" and ";": the value with the blanks around it */
};

struct taglist {
    struct tag tags[TAGS_MAX];
    size_t count;
};

/* False, with *why: a phrase, when the text is no list, a tag occurs twice, or there are more than TAGS_MAX. Slices point into the text. */
bool taglist_parse(struct vr_str text, struct taglist *out, const char **why);
const struct tag *taglist_find(const struct taglist *list,
                               const char *name); /* names are case-sensitive; NULL: not there */

/* Takes the next word of a list like "from : to" off *rest, without the blanks around it. False at the end. */
bool taglist_word(struct vr_str *rest, struct vr_str *word);
/* Is the word in the colon-separated list? By case. */
bool taglist_has(struct vr_str list, const char *word);
/* Takes blanks and line ends out of a text, in place. Returns what is left. */
size_t taglist_squeeze(char *text, size_t n);
/* Base64 with blanks anywhere and padding as it likes. False when it is none, or is empty. */
bool taglist_base64(struct vr_buf *out, struct vr_str text);

#endif
