/* version.c - `veredus version`. */
#include "cli/cli.h"

#include <openssl/crypto.h>
#include <stdio.h>

int cli_version(int argc, char **argv)
{
    (void)argc, (void)argv;
    printf("veredus %s (%s)\n", VEREDUS_VERSION, OpenSSL_version(OPENSSL_VERSION));
    return 0;
}
