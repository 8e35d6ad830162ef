/* address_inside.h - what the files of address.h share. Not public. */
#ifndef ADDRESS_INSIDE_H
#define ADDRESS_INSIDE_H

#include <stdbool.h>

bool address_is_atext(int c); /* RFC 5322 §3.2.3; ASCII only */

#endif
