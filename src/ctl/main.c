/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ctl/ctl.h"

#include <locale.h>

int
main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    return wk_ctl_main(argc, argv);
}
