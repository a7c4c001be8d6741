/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "base/json.h"
#include "kube/config.h"
#include "kube/yaml.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * libFuzzer: any bytes as a kubeconfig: ./dev fuzz kubeconfig. Its plugins are not run.
 *
 * What is taken can be sent: nothing in it ends a header line. Whatever YAML comes, the tree that
 * is made of it can be written as JSON and read again.
 */

#define TREE_MAX (64 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_error(const GError *error)
{
    g_assert(error != NULL && error->domain == WK_ERROR);
    g_assert(g_utf8_validate(error->message, -1, NULL));
}

static void
check_yaml(const char *text, gsize length)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) tree = wk_yaml_parse(text, length, &error);
    g_autoptr(JsonObject) again = NULL;
    g_autofree char *json = NULL;

    if (tree == NULL) {
        check_error(error);
        return;
    }
    json = wk_json_to_text(tree);
    again = wk_json_parse(json, -1, TREE_MAX, &error);
    g_assert(again != NULL && error == NULL);
    g_assert(json_object_get_size(again) == json_object_get_size(tree));
}

static void
check_header_text(const char *text)
{
    for (const char *c = text; c != NULL && *c != '\0'; c++)
        g_assert(!g_ascii_iscntrl(*c));
}

static void
check_config(WkKubeConfig *config)
{
    const WkKubePlace *place = wk_kube_config_get_place(config);
    const WkKubeCredentials *credentials = wk_kube_config_get_credentials(config);

    g_assert(g_ascii_strncasecmp(place->server, "http", 4) == 0);
    g_assert(!g_str_has_suffix(place->server, "/"));
    check_header_text(place->server);
    check_header_text(place->as_user);
    check_header_text(place->as_uid);
    check_header_text(credentials->username);
    check_header_text(credentials->password);
    check_header_text(credentials->token);
    for (gsize i = 0; place->as_groups != NULL && place->as_groups[i] != NULL; i++)
        check_header_text(place->as_groups[i]);
    g_assert((credentials->cert_pem == NULL) == (credentials->key_pem == NULL));
}

/* Returns: (transfer none): the path of a file in memory that holds @data. */
static const char *
put_in_memory(const uint8_t *data, size_t size)
{
    static char path[32];
    static int fd = -1;

    if (fd < 0) {
        fd = memfd_create("kubeconfig", MFD_CLOEXEC);
        g_assert(fd >= 0 && fchmod(fd, 0600) == 0);
        g_snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    g_assert(ftruncate(fd, 0) == 0);
    g_assert(pwrite(fd, data, size, 0) == (ssize_t)size);
    return path;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkKubeConfig) config = NULL;

    check_yaml((const char *)data, size);
    config = wk_kube_config_load(put_in_memory(data, size), &error);
    if (config != NULL)
        check_config(config);
    else
        check_error(error);
    return 0;
}
