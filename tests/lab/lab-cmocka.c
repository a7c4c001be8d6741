/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

void
lab_fail(const char *file, int line, const char *what, GError *error)
{
    print_error("%s:%d: %s: %s\n", file, line, what,
                error != NULL ? error->message : "false, without an error");
    g_clear_error(&error);
    _fail(file, line);
}
