/* extensions.c - the one table of SMTP extensions: the EHLO reply, the client's reading of it and the documentation come from here. */
#include <veredus/smtp.h>

const struct smtp_extension_row smtp_extensions[] = {
    {SMTP_EXT_PIPELINING, "PIPELINING", "RFC 2920", "several commands in one packet"},
    {SMTP_EXT_SIZE, "SIZE", "RFC 1870", "the size of a message is declared and bounded"},
    {SMTP_EXT_8BITMIME, "8BITMIME", "RFC 6152", "bodies with 8-bit bytes"},
    {SMTP_EXT_ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES", "RFC 2034", "replies carry a status such as 5.1.1"},
    {SMTP_EXT_DSN, "DSN", "RFC 3461", "delivery status notifications as asked for"},
    {SMTP_EXT_MT_PRIORITY, "MT-PRIORITY", "RFC 6710", "what is urgent goes first, what is not waits"},
    {SMTP_EXT_STARTTLS, "STARTTLS", "RFC 3207", "the session goes on under TLS"},
    {SMTP_EXT_AUTH, "AUTH", "RFC 4954", "the client says who it is"},
};
const size_t smtp_extension_count = sizeof smtp_extensions / sizeof *smtp_extensions;
