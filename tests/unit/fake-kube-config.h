/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/config.h"

/*
 * kube/config.h without files: instead of src/kube/config.c, for tests of what lies above it. All
 * of its functions are here, so that the archive's own are not linked.
 */

/* @token NULL: none. Returns: (transfer full). */
WkKubeConfig *fake_kube_config_new(const char *url, const char *token);

/* To be changed at will; strings are the caller's, and must live as long as the config. */
WkKubePlace *fake_kube_config_edit_place(WkKubeConfig *self);
WkKubeCredentials *fake_kube_config_edit_credentials(WkKubeConfig *self);

/* What the next refresh brings: a token when it is asked for anew; an error as long as it is not
 * NULL (WK_ERROR_DENIED with that text). */
void fake_kube_config_set_next_token(WkKubeConfig *self, const char *token);
void fake_kube_config_set_refresh_error(WkKubeConfig *self, const char *text);

/* How often it was asked to refresh, and how often anew. */
guint fake_kube_config_count_refreshes(WkKubeConfig *self);
guint fake_kube_config_count_anew(WkKubeConfig *self);
