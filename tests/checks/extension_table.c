/* extension_table.c - prints smtp_extensions[] as the Markdown table of docs/extensions.md.
 *
 * script/docs writes it there, and tests/checks/run.py compares.
 */
#include <veredus/smtp.h>

#include <stdio.h>

static void print_server(unsigned where)
{
    static const struct {
        unsigned bit;
        const char *word;
    } words[] = {{SMTP_WHERE_MX, "mx"}, {SMTP_WHERE_SUBMISSION, "submission"}, {SMTP_WHERE_LMTP, "LMTP"}};
    const char *comma = "";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (where & words[i].bit) {
            printf("%s%s", comma, words[i].word);
            comma = ", ";
        }
    if (where & SMTP_WHERE_TLS)
        printf("; under TLS");
    if (where & SMTP_WHERE_CLEAR)
        printf("; in clear");
    if (where & SMTP_WHERE_GRANTED)
        printf("; to whom the configuration grants it");
}

/* "MAIL SIZE, RCPT NOTIFY ORCPT, ETRN" */
static void print_adds(const struct smtp_extension_row *row)
{
    const char *comma = "";
    const struct {
        const char *verb, *words;
    } parts[] = {{"MAIL ", row->mail_parameters}, {"RCPT ", row->rcpt_parameters}, {"", row->commands}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].words[0] != '\0') {
            printf("%s%s%s", comma, parts[i].verb, parts[i].words);
            comma = "; ";
        }
}

int main(void)
{
    puts("| keyword | from | what for | adds | the server offers it to | the client | test |");
    puts("| --- | --- | --- | --- | --- | --- | --- |");
    for (size_t i = 0; i < smtp_extension_count; i++) {
        const struct smtp_extension_row *row = &smtp_extensions[i];
        printf("| `%s` | %s | %s | ", row->keyword, row->rfc, row->purpose);
        print_adds(row);
        printf(" | ");
        print_server(row->server);
        printf(" | %s | `tests/%s` |\n", row->client, row->test);
    }
    return 0;
}
