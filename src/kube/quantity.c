/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/vmi.h"

#include <math.h>
#include <string.h>

#define DIGITS_MAX   18 /* always fit into 64 bits */
#define EXPONENT_MAX 18
#define BYTES_MAX    4611686018427387904.0L /* 2^62 */

/* What follows the number. */
static const struct {
    const char *suffix;
    long double factor;
} suffixes[] = {
    { "", 1 },
    { "n", 1e-9L },
    { "u", 1e-6L },
    { "m", 1e-3L },
    { "k", 1e3L },
    { "M", 1e6L },
    { "G", 1e9L },
    { "T", 1e12L },
    { "P", 1e15L },
    { "E", 1e18L },
    { "Ki", 1024.0L },
    { "Mi", 1048576.0L },
    { "Gi", 1073741824.0L },
    { "Ti", 1099511627776.0L },
    { "Pi", 1125899906842624.0L },
    { "Ei", 1152921504606846976.0L },
};

/* Reads digits at *@text on. Returns: how many there are. */
static gsize
read_digits(const char **text, guint64 *number)
{
    const gsize n = strspn(*text, "0123456789");

    for (gsize i = 0; i < MIN(n, DIGITS_MAX); i++)
        *number = *number * 10 + (guint64)((*text)[i] - '0');
    *text += n;
    return n;
}

/* "e9", "E-3": at least one digit. */
static gboolean
read_exponent(const char *text, long double *factor)
{
    guint64 exponent = 0;
    gboolean negative;
    gsize n;

    if (*text != 'e' && *text != 'E')
        return FALSE;
    text++;
    negative = *text == '-';
    text += negative || *text == '+';
    n = read_digits(&text, &exponent);
    if (n == 0 || n > 2 || *text != '\0' || exponent > EXPONENT_MAX)
        return FALSE;
    *factor = powl(10, negative ? -(long double)exponent : (long double)exponent);
    return TRUE;
}

static gboolean
read_factor(const char *text, long double *factor)
{
    for (gsize i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        if (!g_str_equal(suffixes[i].suffix, text))
            continue;
        *factor = suffixes[i].factor;
        return TRUE;
    }
    return read_exponent(text, factor);
}

gboolean
wk_quantity_parse(const char *text, guint64 *bytes)
{
    guint64 number = 0;
    gsize n_whole, n_part = 0;
    long double factor = 1, value;

    text += *text == '+';
    n_whole = read_digits(&text, &number);
    if (*text == '.') {
        text++;
        n_part = read_digits(&text, &number);
    }
    if (n_whole + n_part == 0 || n_whole + n_part > DIGITS_MAX || !read_factor(text, &factor))
        return FALSE;
    value = ceill((long double)number * factor / powl(10, (long double)n_part));
    if (value > BYTES_MAX)
        return FALSE;
    *bytes = (guint64)value;
    return TRUE;
}
