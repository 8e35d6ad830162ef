/* idn.h - internationalised domain names: U-labels to A-labels and back (RFC 5890, RFC 5891; UTS #46, non-transitional).
 *
 * A domain is compared, looked up and checked against certificates by its A-labels, and written as its user wrote it. Nothing here asks the
 * DNS, or whether a name exists.
 * Tests: tests/unit/idn.c, tests/fuzz/fuzz_idn.c
 */
#ifndef VEREDUS_IDN_H
#define VEREDUS_IDN_H

#include <veredus/base.h>

#define IDN_NAME_MAX 255 /* octets of a name, in either form (RFC 5321 §4.5.3.1.2) */

/* The name as the DNS knows it: A-labels, ASCII, lower case. A name that is ASCII already is only lowered, so that those which are no host
 * names ("_dmarc.example.org", "[192.0.2.1]") stay what they are. What comes out of another holds letters, digits, "-", "_" and dots between
 * labels, nothing else. VR_ERR_SYNTAX: not UTF-8, or no such name can exist; VR_ERR_TOO_BIG: longer than IDN_NAME_MAX, a label longer than 63
 * octets, or the arena is full. */
enum vr_err idn_to_ascii(struct vr_arena *arena, struct vr_str domain, struct vr_str *out);

/* The name for people, in UTF-8 and lower case: U-labels where its A-labels stand for some. idn_to_ascii leads back; a name that it would not
 * lead back to, and one that would be longer than IDN_NAME_MAX, stay A-labels. Errors as above. */
enum vr_err idn_to_unicode(struct vr_arena *arena, struct vr_str domain, struct vr_str *out);

/* Do both name the same domain, whatever the case and the form of their labels? Names that are none are compared byte for byte. */
bool idn_equal(struct vr_str a, struct vr_str b);

#endif
