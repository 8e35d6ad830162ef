/* srs.c - the Sender Rewriting Scheme: what postsrsd 1.10 makes and reads, forged and old addresses, secrets that change. */
#include "lib_testing.h"

#include <veredus/srs.h>

#define NOW 1795831240 /* when postsrsd made the addresses below: day JR */
#define DAY 86400

static const struct vr_str secrets[] = {VR_STR_INIT("tops3cret"), VR_STR_INIT("older")};
static const struct srs ours = {.domain = VR_STR_INIT("fwd.test"), .secrets = secrets, .secret_count = 2};

static struct address parsed(const char *text)
{
    struct address a;
    const char *why;
    if (address_parse(&arena, vr_str_from(text), ADDRESS_ALLOW_UTF8, &a, &why) != VR_OK)
        fail_msg("%s: %s", text, why);
    return a;
}

static enum srs_verdict back(const struct srs *srs, const char *text, int64_t now, struct vr_str *out)
{
    struct address a, there = parsed(text);
    enum srs_verdict v = srs_reverse(srs, there.local, now, &arena, &a);
    *out = v == SRS_GOOD ? address_text(&arena, &a) : VR_STR("");
    return v;
}

/* Both ways, as postsrsd does it with the same secret. */
static void postsrsd(void **state)
{
    static const struct {
        const char *sender, *address, *back; /* back NULL: the sender */
    } all[] = {
        {"ann@example.org", "SRS0=gMPl=JR=example.org=ann@fwd.test", NULL},
        {"Ann.B+tag=x@Example.ORG", "SRS0=Z+8/=JR=example.org=Ann.B+tag=x@fwd.test",
         "Ann.B+tag=x@example.org"},
        {"srs0=abcd=EF=example.org=ann@other.test", "SRS1=QjnD=other.test==abcd=EF=example.org=ann@fwd.test",
         "SRS0=abcd=EF=example.org=ann@other.test"},
        {"SRS0=abcd=EF=example.org=ann@other.test", "SRS1=QjnD=other.test==abcd=EF=example.org=ann@fwd.test",
         NULL},
        {"SRS0+abcd=EF=example.org=ann@other.test", "SRS1=ahC6=other.test=+abcd=EF=example.org=ann@fwd.test",
         NULL},
        {"SRS1=wxyz=first.test==abcd=EF=example.org=ann@other.test",
         "SRS1=MLEB=first.test==abcd=EF=example.org=ann@fwd.test", "SRS0=abcd=EF=example.org=ann@first.test"},
        {"SRS1=wxyz=first.test=-abcd=EF=example.org=ann@other.test",
         "SRS1=iaPP=first.test=-abcd=EF=example.org=ann@fwd.test", "SRS0-abcd=EF=example.org=ann@first.test"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct address sender = parsed(all[i].sender), out;
        struct vr_str text;
        assert_int_equal(srs_forward(&ours, &sender, NOW, &arena, &out), VR_OK);
        assert_text(address_text(&arena, &out), all[i].address);
        assert_int_equal(back(&ours, all[i].address, NOW, &text), SRS_GOOD);
        assert_text(text, all[i].back != NULL ? all[i].back : all[i].sender);
    }
}

static void coming_back(void **state)
{
    static const struct {
        const char *address;
        int days;
        enum srs_verdict verdict;
    } all[] = {
        {"SRS0=gMPl=JR=example.org=ann@fwd.test", 0, SRS_GOOD},
        {"srs0=gmpl=jr=EXAMPLE.org=ANN@fwd.test", 0, SRS_GOOD}, /* cases are lost on the way of mail */
        {"SRS0+gMPl=JR=example.org=ann@fwd.test", 0, SRS_GOOD},
        {"SRS0-gMPl=JR=example.org=ann@fwd.test", 0, SRS_GOOD},
        {"SRS0=gMPl=JR=example.org=ann@fwd.test", 21, SRS_GOOD},
        {"SRS0=gMPl=JR=example.org=ann@fwd.test", 22, SRS_EXPIRED},
        {"SRS0=gMPl=JR=example.org=ann@fwd.test", -1, SRS_GOOD}, /* another's clock */
        {"SRS0=gMPl=JR=example.org=ann@fwd.test", -2, SRS_EXPIRED},
        {"SRS0=gMPl=JR=example.org=ann@fwd.test", 1024, SRS_GOOD}, /* days come round */
        {"SRS0=gMPk=JR=example.org=ann@fwd.test", 0, SRS_FORGED},
        {"SRS0=gMPl=JS=example.org=ann@fwd.test", 0, SRS_FORGED},
        {"SRS0=gMPl=JR=example.com=ann@fwd.test", 0, SRS_FORGED},
        {"SRS0=gMPl=JR=example.org=bob@fwd.test", 0, SRS_FORGED},
        {"SRS0=gMP=JR=example.org=ann@fwd.test", 0, SRS_FORGED}, /* too short a hash */
        {"SRS0=g=JR=example.org=ann@fwd.test", 0, SRS_FORGED},
        {"SRS0==JR=example.org=ann@fwd.test", 0, SRS_BROKEN},
        {"SRS0=gMPl=JR=example.org=@fwd.test", 0, SRS_BROKEN},
        {"SRS0=gMPl=JR=example.org@fwd.test", 0, SRS_BROKEN},
        {"SRS0=gMPl@fwd.test", 0, SRS_BROKEN},
        {"SRS1=QjnD=other.test==abcd=EF=example.org=ann@fwd.test", 500,
         SRS_GOOD}, /* the first forwarder looks at the day */
        {"SRS1=QjnD=evil.test==abcd=EF=example.org=ann@fwd.test", 0, SRS_FORGED},
        {"SRS1=QjnD=other.test=+abcd=EF=example.org=ann@fwd.test", 0, SRS_FORGED},
        {"SRS1=QjnD=other.test=abcd@fwd.test", 0, SRS_BROKEN},
        {"SRS1=QjnD=other.test@fwd.test", 0, SRS_BROKEN},
        {"SRS1=QjnD=other.test=@fwd.test", 0, SRS_BROKEN},
        {"SRS2=gMPl=JR=example.org=ann@fwd.test", 0, SRS_NONE},
        {"SRS0.gMPl=JR=example.org=ann@fwd.test", 0, SRS_NONE},
        {"SRS0@fwd.test", 0, SRS_NONE},
        {"ann@fwd.test", 0, SRS_NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct vr_str text;
        enum srs_verdict v = back(&ours, all[i].address, NOW + (int64_t)all[i].days * DAY, &text);
        if (v != all[i].verdict)
            fail_msg("%s after %d days: %s", all[i].address, all[i].days, srs_verdict_name(v));
    }
}

static void secrets_change(void **state)
{
    const struct vr_str next[] = {VR_STR("newest"), VR_STR("tops3cret")},
                        other[] = {VR_STR("newest"), VR_STR("older")};
    struct srs later = {.domain = VR_STR("fwd.test"), .secrets = next, .secret_count = 2};
    struct srs gone = {.domain = VR_STR("fwd.test"), .secrets = other, .secret_count = 2};
    struct srs none = {.domain = VR_STR("fwd.test")};
    struct address ann = parsed("ann@example.org"), out;
    struct vr_str text;
    (void)state;
    assert_int_equal(back(&later, "SRS0=gMPl=JR=example.org=ann@fwd.test", NOW, &text), SRS_GOOD);
    assert_int_equal(back(&gone, "SRS0=gMPl=JR=example.org=ann@fwd.test", NOW, &text), SRS_FORGED);
    assert_int_equal(srs_forward(&later, &ann, NOW, &arena, &out), VR_OK);
    text = address_text(&arena, &out);
    assert_false(
        vr_str_equal(text, VR_STR("SRS0=gMPl=JR=example.org=ann@fwd.test"))); /* the first one signs */
    assert_int_equal(srs_forward(&none, &ann, NOW, &arena, &out), VR_ERR_SYNTAX);
    assert_int_equal(back(&none, "SRS0=gMPl=JR=example.org=ann@fwd.test", NOW, &text), SRS_FORGED);
}

static void lengths(void **state)
{
    struct srs longer = ours;
    struct vr_str text;
    struct address ann = parsed("ann@example.org"), out;
    (void)state;
    longer.hash = 10;
    assert_int_equal(srs_forward(&longer, &ann, NOW, &arena, &out), VR_OK);
    text = address_text(&arena, &out);
    assert_int_equal(text.n, strlen("SRS0=1234567890=JR=example.org=ann@fwd.test"));
    assert_int_equal(back(&longer, text.p, NOW, &text), SRS_GOOD);
    assert_int_equal(back(&longer, "SRS0=gMPl=JR=example.org=ann@fwd.test", NOW, &text), SRS_FORGED);
    longer.hash = 1000;
    assert_int_equal(srs_forward(&longer, &ann, NOW, &arena, &out), VR_OK);
    assert_int_equal(back(&longer, address_text(&arena, &out).p, NOW, &text), SRS_GOOD);
    /* a local part that is longer than 64 octets comes back, too */
    struct address far =
        parsed("bounces+123456-7890-recipient=customer.example.com@mail.newsletters.example.org");
    assert_int_equal(srs_forward(&ours, &far, NOW, &arena, &out), VR_OK);
    assert_true(out.local.n > ADDRESS_LOCAL_MAX);
    assert_int_equal(back(&ours, address_text(&arena, &out).p, NOW, &text), SRS_GOOD);
    assert_text(text, "bounces+123456-7890-recipient=customer.example.com@mail.newsletters.example.org");
    char domain[256] = "a@";
    for (int i = 0; i < 36; i++)
        strcat(domain, "abcde.");
    strcat(domain, "org");
    far = parsed(domain);
    assert_int_equal(srs_forward(&ours, &far, NOW, &arena, &out), VR_ERR_TOO_BIG);
}

static void kept_as_they_are(void **state)
{
    struct address out, null = {.null = true}, own = parsed("joe@FWD.test"),
                        postmaster = {.local = VR_STR("postmaster")};
    (void)state;
    assert_int_equal(srs_forward(&ours, &null, NOW, &arena, &out), VR_ERR_STATE);
    assert_int_equal(srs_forward(&ours, &own, NOW, &arena, &out), VR_ERR_STATE);
    assert_int_equal(srs_forward(&ours, &postmaster, NOW, &arena, &out), VR_ERR_STATE);
}

/* Quoted local parts, names beyond ASCII, and what only looks like an address of the scheme. */
static void odd_senders(void **state)
{
    static const char *const all[] = {
        "\"ann b\"@example.org",   "\"a@b\"@example.org",    "\"\\\"\"@example.org",
        "j\xc3\xb6rg@example.org", "ann@[192.0.2.1]",        "a=b=c@example.org",
        "SRS1=abc@example.org",    "SRS1=a=b=c@example.org", "=@example.org"};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct address sender = parsed(all[i]), out;
        struct vr_str text;
        assert_int_equal(srs_forward(&ours, &sender, NOW, &arena, &out), VR_OK);
        assert_int_equal(out.utf8, sender.utf8);
        if (back(&ours, address_text(&arena, &out).p, NOW, &text) != SRS_GOOD ||
            !address_same(text, vr_str_from(all[i])))
            fail_msg("%s: %.*s", all[i], VR_STR_ARG(text));
    }
    struct address idn = parsed("ann@b\xc3\xbc"
                                "cher.test"),
                   out;
    assert_int_equal(srs_forward(&ours, &idn, NOW, &arena, &out), VR_OK);
    assert_false(out.utf8); /* so a server without SMTPUTF8 can be told */
    assert_non_null(strstr(address_text(&arena, &out).p, "=xn--bcher-kva.test=ann@"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {T(postsrsd), T(coming_back),      T(secrets_change),
                                       T(lengths),  T(kept_as_they_are), T(odd_senders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
