/* date.c - dates of messages (RFC 5322 §3.3, §4.3) and of logs (RFC 3339), by the proleptic Gregorian calendar.
 *
 * Reading is lenient: day names, comments, missing seconds, two- and three-digit years, named zones, asctime's order, and dashes for
 * blanks are understood, since mail of the last decades has them all.
 * Tests: tests/unit/message.c, tests/conformance/ (mail-parser's dates)
 */
#include <veredus/message.h>

#include <stdio.h>

static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

/* RFC 5322 §4.3: these, and nothing else that letters say; military zones and unknown ones mean "-0000" */
static const struct {
    const char *name;
    int minutes;
} zones[] = {
    {"UT", 0},     {"GMT", 0},    {"UTC", 0},    {"Z", 0},      {"EST", -300}, {"EDT", -240},
    {"CST", -360}, {"CDT", -300}, {"MST", -420}, {"MDT", -360}, {"PST", -480}, {"PDT", -420},
    {"CET", 60},   {"CEST", 120}, {"MET", 60},   {"MEST", 120}, {"EET", 120},  {"EEST", 180},
    {"WET", 0},    {"WEST", 60},  {"BST", 60},   {"JST", 540},  {"HKT", 480},  {"MSK", 180},
};

/* Days since 1970-01-01; month 1..12. */
static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    unsigned yoe = (unsigned)(y - era * 400);
    unsigned doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + (int64_t)doe - 719468;
}

static void civil_from_days(int64_t z, int64_t *y, unsigned *m, unsigned *d)
{
    z += 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned doe = (unsigned)(z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    *d = doy - (153 * mp + 2) / 5 + 1;
    *m = mp < 10 ? mp + 3 : mp - 9;
    *y = (int64_t)yoe + era * 400 + (*m <= 2);
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

/* Skips what separates: blanks, line ends, commas, dashes between words, and comments with nesting. */
static void skip_separators(struct vr_str *s, bool dashes)
{
    int depth = 0;
    while (s->n > 0) {
        char c = s->p[0];
        if (c == '(')
            depth++;
        else if (c == ')' && depth > 0)
            depth--;
        else if (c == '\\' && depth > 0 && s->n > 1)
            *s = vr_str_from_pos(*s, 1);
        else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n' && c != ',' && c != '.' &&
                 !(dashes && c == '-'))
            return;
        *s = vr_str_from_pos(*s, 1);
    }
}

static bool is_letter(char c)
{
    c = vr_lower(c);
    return c >= 'a' && c <= 'z';
}

static struct vr_str take_letters(struct vr_str *s)
{
    size_t n = 0;
    while (n < s->n && is_letter(s->p[n]))
        n++;
    struct vr_str word = vr_str_sub(*s, 0, n);
    *s = vr_str_from_pos(*s, n);
    return word;
}

static bool take_number(struct vr_str *s, unsigned *value, size_t *digits)
{
    size_t n = 0;
    while (n < s->n && n < 9 && s->p[n] >= '0' && s->p[n] <= '9')
        n++;
    uint64_t v = 0;
    bool good = vr_str_to_u64(vr_str_sub(*s, 0, n), &v);
    *value = (unsigned)v;
    *digits = n;
    *s = vr_str_from_pos(*s, n);
    return good;
}

static unsigned month_of(struct vr_str word)
{
    for (unsigned i = 0; word.n >= 3 && i < 12; i++)
        if (vr_str_equal_nocase(vr_str_sub(word, 0, 3), vr_str_from(months[i])))
            return i + 1;
    return 0;
}

struct parts {
    unsigned day, month, year, hour, minute, second;
    bool has_day, has_year, has_time;
    int zone;
};

/* "10:20:30", "10:20", "10.20.30"; the first number is read already */
static bool read_time(struct vr_str *s, struct parts *p, unsigned hour)
{
    size_t digits;
    p->hour = hour;
    *s = vr_str_from_pos(*s, 1);
    skip_separators(s, false);
    if (!take_number(s, &p->minute, &digits))
        return false;
    struct vr_str look = *s;
    skip_separators(&look, false);
    if (look.n > 0 && look.p[0] == ':') {
        look = vr_str_from_pos(look, 1);
        skip_separators(&look, false);
        if (!take_number(&look, &p->second, &digits))
            return false;
        *s = look;
    }
    p->has_time = true;
    return true;
}

/* §4.3: 00..49 is 20xx, 50..99 and three digits count from 1900 */
static unsigned whole_year(unsigned year, size_t digits)
{
    if (digits == 2)
        return year < 50 ? 2000 + year : 1900 + year;
    return digits == 3 ? 1900 + year : year;
}

static bool read_number(struct vr_str *s, struct parts *p)
{
    unsigned value;
    size_t digits;
    if (!take_number(s, &value, &digits))
        return false;
    struct vr_str look = *s;
    skip_separators(&look, false);
    if (look.n > 0 && look.p[0] == ':' && !p->has_time) {
        *s = look;
        return read_time(s, p, value);
    }
    if (!p->has_day && digits <= 2) {
        p->day = value;
        p->has_day = true;
    } else if (!p->has_year && digits >= 2) {
        p->year = whole_year(value, digits);
        p->has_year = true;
    } else {
        return false;
    }
    return true;
}

static bool read_zone(struct vr_str *s, struct parts *p)
{
    int sign = s->p[0] == '-' ? -1 : 1;
    unsigned value;
    size_t digits;
    *s = vr_str_from_pos(*s, 1);
    if (!take_number(s, &value, &digits))
        return false;
    if (s->n > 0 && s->p[0] == ':' && digits <= 2) { /* +01:00 */
        unsigned minutes;
        *s = vr_str_from_pos(*s, 1);
        if (!take_number(s, &minutes, &digits))
            return false;
        value = value * 100 + minutes;
    } else if (digits <= 2) {
        value *= 100; /* +2 */
    }
    if (value % 100 > 59 || value > 9959)
        return false;
    p->zone = sign * (int)(value / 100 * 60 + value % 100);
    return true;
}

static void read_word(struct vr_str word, struct parts *p)
{
    unsigned month = month_of(word);
    if (month != 0 && p->month == 0) {
        p->month = month;
        return;
    }
    if (p->has_time && word.n == 2 && (vr_lower(word.p[1]) == 'm')) { /* AM, PM */
        if (vr_lower(word.p[0]) == 'p' && p->hour < 12)
            p->hour += 12;
        else if (vr_lower(word.p[0]) == 'a' && p->hour == 12)
            p->hour = 0;
        return;
    }
    for (size_t i = 0; p->has_time && i < sizeof zones / sizeof *zones; i++)
        if (vr_str_equal_nocase(word, vr_str_from(zones[i].name)))
            p->zone = zones[i].minutes;
}

static bool in_range(const struct parts *p)
{
    static const unsigned char length[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (p->year % 4 == 0 && p->year % 100 != 0) || p->year % 400 == 0;
    return p->has_day && p->has_year && p->month >= 1 && p->day >= 1 && p->day <= length[p->month - 1] &&
           (p->month != 2 || p->day < 29 || leap) && p->year >= 1900 && p->year <= 9999 && p->hour < 24 &&
           p->minute < 60 && p->second <= 60;
}

enum vr_err message_date_parse(struct vr_str text, struct message_date *out)
{
    struct parts p = {0};
    text = header_first_body(text);
    for (;;) {
        skip_separators(&text, !p.has_time);
        if (text.n == 0)
            break;
        char c = text.p[0];
        bool good = true;
        if (is_letter(c))
            read_word(take_letters(&text), &p);
        else if (c >= '0' && c <= '9')
            good = read_number(&text, &p);
        else if ((c == '+' || c == '-') && p.has_time)
            good = read_zone(&text, &p);
        else if (in_range(&p) && p.has_time)
            break; /* the date is whole; what follows is not ours */
        else
            good = false;
        if (!good && in_range(&p) && p.has_time)
            break;
        if (!good)
            return VR_ERR_SYNTAX;
    }
    if (!in_range(&p))
        return VR_ERR_SYNTAX;
    int64_t day = days_from_civil(p.year, p.month, p.day);
    out->time = day * 86400 + p.hour * 3600 + p.minute * 60 + p.second - p.zone * 60;
    out->zone_minutes = p.zone;
    return VR_OK;
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static void split_time(int64_t time, int64_t *day, unsigned *second)
{
    *day = time / 86400 - (time % 86400 < 0);
    *second = (unsigned)(time - *day * 86400);
}

size_t message_date_write(char out[MESSAGE_DATE_SIZE], int64_t time, int zone_minutes)
{
    int64_t day, year;
    unsigned second, month, dom;
    split_time(time + zone_minutes * 60, &day, &second);
    civil_from_days(day, &year, &month, &dom);
    unsigned weekday = (unsigned)(((day + 4) % 7 + 7) % 7);
    int zone = zone_minutes < 0 ? -zone_minutes : zone_minutes;
    int n = snprintf(out, MESSAGE_DATE_SIZE, "%s, %u %s %04d %02u:%02u:%02u %c%02d%02d", days[weekday], dom,
                     months[month - 1], (int)(year % 10000), second / 3600, second / 60 % 60, second % 60,
                     zone_minutes < 0 ? '-' : '+', zone / 60 % 100, zone % 60);
    return n < MESSAGE_DATE_SIZE ? (size_t)n : MESSAGE_DATE_SIZE - 1;
}

size_t message_rfc3339_write(char out[MESSAGE_RFC3339_SIZE], int64_t time_us)
{
    int64_t day, year, seconds = time_us / 1000000 - (time_us % 1000000 < 0);
    unsigned second, month, dom, ms = (unsigned)((time_us - seconds * 1000000) / 1000);
    split_time(seconds, &day, &second);
    civil_from_days(day, &year, &month, &dom);
    int n = snprintf(out, MESSAGE_RFC3339_SIZE, "%04d-%02u-%02uT%02u:%02u:%02u.%03uZ", (int)(year % 10000),
                     month, dom, second / 3600, second / 60 % 60, second % 60, ms);
    return n < MESSAGE_RFC3339_SIZE ? (size_t)n : MESSAGE_RFC3339_SIZE - 1;
}

/* Exactly n digits at the start. */
static bool take_digits(struct vr_str *text, unsigned n, int64_t *out)
{
    uint64_t value;
    if (text->n < n || !vr_str_to_u64(vr_str_sub(*text, 0, n), &value))
        return false;
    *out = (int64_t)value;
    *text = vr_str_from_pos(*text, n);
    return true;
}

static bool take_char(struct vr_str *text, char c)
{
    if (text->n == 0 || vr_lower(text->p[0]) != c)
        return false;
    *text = vr_str_from_pos(*text, 1);
    return true;
}

/* "Z", or "+hh:mm": seconds east of UTC */
static bool take_offset(struct vr_str *text, int64_t *seconds)
{
    int64_t hour, minute;
    bool minus = text->n > 0 && text->p[0] == '-';
    *seconds = 0;
    if (take_char(text, 'z'))
        return true;
    if (!take_char(text, minus ? '-' : '+') || !take_digits(text, 2, &hour) || !take_char(text, ':') ||
        !take_digits(text, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *seconds = (hour * 60 + minute) * (minus ? -60 : 60);
    return true;
}

enum vr_err message_rfc3339_parse(struct vr_str text, int64_t *time)
{
    int64_t year, month, day, hour, minute, second, offset;
    if (!take_digits(&text, 4, &year) || !take_char(&text, '-') || !take_digits(&text, 2, &month) ||
        !take_char(&text, '-') || !take_digits(&text, 2, &day) || !take_char(&text, 't') ||
        !take_digits(&text, 2, &hour) || !take_char(&text, ':') || !take_digits(&text, 2, &minute) ||
        !take_char(&text, ':') || !take_digits(&text, 2, &second))
        return VR_ERR_SYNTAX;
    if (take_char(&text, '.')) {
        size_t digits = 0;
        while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
            digits++;
        if (digits == 0)
            return VR_ERR_SYNTAX;
        text = vr_str_from_pos(text, digits);
    }
    if (!take_offset(&text, &offset) || text.n > 0 || month < 1 || month > 12 || day < 1 || hour > 23 ||
        minute > 59 || second > 60)
        return VR_ERR_SYNTAX;
    int64_t at = days_from_civil(year, (unsigned)month, (unsigned)day), back_year;
    unsigned back_month, back_day; /* 30 February is another day when it comes back */
    civil_from_days(at, &back_year, &back_month, &back_day);
    if (back_day != (unsigned)day)
        return VR_ERR_SYNTAX;
    *time = at * 86400 + hour * 3600 + minute * 60 + (second > 59 ? 59 : second) - offset;
    return VR_OK;
}
