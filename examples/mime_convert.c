/* mime_convert.c - a message with 8-bit text is made ready for a server without 8BITMIME, with libveredus and without I/O.
 *
 * Two passes over the same bytes: the survey says what the message needs and whether it can be converted, the converter does it. Both take the
 * message in any pieces; here they are 20 bytes long, as if they came from a slow socket.
 */
#include <veredus/mime.h>

#include <stdio.h>
#include <string.h>

static const char message[] = "From: alice@client.example\r\n"
                              "Subject: lunch\r\n"
                              "MIME-Version: 1.0\r\n"
                              "Content-Type: multipart/mixed; boundary=\"=_1\"\r\n"
                              "Content-Transfer-Encoding: 8bit\r\n"
                              "\r\n"
                              "--=_1\r\n"
                              "Content-Type: text/plain; charset=utf-8\r\n"
                              "Content-Transfer-Encoding: 8bit\r\n"
                              "\r\n"
                              "Cr\xc3\xaapes at noon?\r\n"
                              "--=_1\r\n"
                              "Content-Type: application/octet-stream\r\n"
                              "Content-Transfer-Encoding: base64\r\n"
                              "\r\n"
                              "AAECAwQ=\r\n"
                              "--=_1--\r\n";

static struct vr_str next_piece(struct vr_str *rest)
{
    struct vr_str piece = vr_str_sub(*rest, 0, 20);
    *rest = vr_str_from_pos(*rest, 20);
    return piece;
}

/* What the message needs of a server. */
static void look(struct mime_survey *survey)
{
    struct vr_str rest = vr_str(message, sizeof message - 1);
    mime_survey_init(survey);
    while (rest.n > 0)
        mime_survey_feed(survey, next_piece(&rest));
    mime_survey_end(survey);
    const struct mime_verdict *v = &survey->verdict;
    printf("needs %s, has %u parts and %llu bytes\n", mime_transport_name(v->needs), v->parts,
           (unsigned long long)v->size);
    for (enum mime_transport to = MIME_7BIT; to <= MIME_8BIT; to++)
        printf("as %s: %u parts change, %llu bytes\n", mime_transport_name(to), v->to[to].changed,
               (unsigned long long)v->to[to].size);
}

static void print_what_is_ready(struct mime_converter *converter, size_t *size)
{
    struct vr_str piece;
    while (mime_convert_next(converter, &piece)) {
        fwrite(piece.p, 1, piece.n, stdout); /* a real program sends it */
        *size += piece.n;
    }
}

static size_t convert(const struct mime_survey *survey)
{
    static struct mime_converter converter;
    struct vr_str rest = vr_str(message, sizeof message - 1);
    size_t size = 0;
    mime_convert_init(&converter, survey, MIME_7BIT);
    while (rest.n > 0) {
        mime_convert_feed(&converter, next_piece(&rest));
        print_what_is_ready(&converter, &size);
    }
    mime_convert_end(&converter);
    print_what_is_ready(&converter, &size);
    return size;
}

int main(void)
{
    static struct mime_survey survey; /* some 40 KiB, plain data */
    look(&survey);
    if (!survey.verdict.to[MIME_7BIT].can) {
        struct vr_buf why;
        vr_buf_init(&why, 500);
        mime_obstacle_text(&survey.verdict, MIME_7BIT, &why);
        printf("cannot be converted: %.*s\n", VR_STR_ARG(vr_buf_str(&why)));
        vr_buf_fini(&why);
        return 1;
    }
    return convert(&survey) == survey.verdict.to[MIME_7BIT].size ? 0 : 1;
}
