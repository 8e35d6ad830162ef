/* run_transcript.c - runs transcripts of SMTP and LMTP dialogues; README.md has the format.
 *
 *     run_transcript [--seed N] FILE…            three ways against the engine in memory
 *     run_transcript --tcp HOST:PORT FILE…       against a server
 *
 * The last line is `N passed, N failed`, counting transcripts × ways.
 */
#include "transcript.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static unsigned passed, failed, skipped;

static void count(bool good)
{
    passed += good;
    failed += !good;
}

static void run_ways(const struct transcript *t, uint64_t seed)
{
    struct vr_buf seen;
    vr_buf_init(&seen, 64u << 20);
    for (enum way way = WAY_CHUNK; way < WAY_COUNT; way++)
        count(engine_run(t, way, seed, &seen));
    vr_buf_fini(&seen);
}

static void run_file(const char *path, uint64_t seed, const char *host, const char *port)
{
    struct transcript t;
    if (!transcript_read(&t, path)) {
        fprintf(stderr, "%s:%u: %s\n", path, t.error_line,
                t.error != NULL ? t.error : "it could not be read");
        count(false);
    } else if (host == NULL) {
        run_ways(&t, seed);
    } else if (t.tcp) {
        count(tcp_run(&t, host, port));
    } else {
        skipped++;
    }
    transcript_free(&t);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_transcript(const struct dirent *e)
{
    return vr_str_ends_nocase(vr_str_from(e->d_name), VR_STR(".txt"));
}

/* A file, or all the .txt of a folder. */
static void run_path(const char *path, uint64_t seed, const char *host, const char *port)
{
    struct dirent **list;
    int n = scandir(path, &list, is_transcript, by_name);
    if (n < 0) {
        run_file(path, seed, host, port);
        return;
    }
    for (int i = 0; i < n; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, list[i]->d_name);
        run_file(file, seed, host, port);
        free(list[i]);
    }
    free(list);
}

static int usage(void)
{
    fprintf(stderr, "usage: run_transcript [--seed N] [--tcp HOST:PORT] FILE|FOLDER...\n");
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t seed = (uint64_t)time(NULL);
    char *host = NULL, *port = NULL;
    int i = 1;
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--tcp") == 0 && strrchr(argv[i + 1], ':') != NULL) {
            host = argv[i + 1];
            port = strrchr(host, ':');
            *port++ = '\0';
        } else {
            return usage();
        }
    }
    if (i >= argc)
        return usage();
    for (; i < argc; i++)
        run_path(argv[i], seed, host, port);
    if (skipped > 0)
        printf("%u not for TCP\n", skipped);
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
