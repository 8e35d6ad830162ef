/* crc32c.c - CRC-32C (Castagnoli, reflected 0x82F63B78): by the SSE 4.2 instruction where the processor has it, else bit by bit (slow, right, and rare).
 *
 * Tests: tests/unit/base.c (RFC 3720 appendix B.4 vectors)
 */
#include <veredus/base.h>

#include <string.h>

#define POLYNOMIAL 0x82F63B78u

static uint32_t crc_bitwise(uint32_t crc, const unsigned char *p, size_t n)
{
    while (n-- > 0) {
        crc ^= *p++;
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (POLYNOMIAL & (0u - (crc & 1)));
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_instruction(uint32_t crc, const unsigned char *p,
                                                                  size_t n)
{
    uint64_t wide = crc;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; n > 0; p++, n--)
        crc = __builtin_ia32_crc32qi(crc, *p);
    return crc;
}
#endif

uint32_t vr_crc32c(uint32_t crc, const void *data, size_t n)
{
    const unsigned char *p = data;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_instruction(~crc, p, n);
#elif defined(__ARM_FEATURE_CRC32)
    crc = ~crc;
    for (; n > 0; p++, n--)
        crc = __builtin_arm_crc32cb(crc, *p);
    return ~crc;
#endif
    return ~crc_bitwise(~crc, p, n);
}
