// SPDX-License-Identifier: Apache-2.0
// What an image starts, ebpfctl aside: Node with the flags and settings that keep it small, which a line with #!
// cannot give. The file of the daemon carries capabilities, so that a user without rights gets them; Node's own
// file must not, or whoever ran Node had them. What this process may do is handed on to the Node that it becomes: nothing
// that the container was not given, and nothing that other users of the image get.
// SCRIPT, FLAGS and SETTINGS are given as they are built: words in quotes, with commas between them.
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef NODE
#define NODE "/usr/bin/node"
#endif

static void fail(const char *what)
{
	perror(what);
	exit(126);
}

#ifdef HANDS_ON_CAPABILITIES
static void hand_on_capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2];

	if (syscall(SYS_capget, &header, sets) != 0)
		fail(SCRIPT ": read capabilities");
	for (int i = 0; i < 2; i++)
		sets[i].effective = sets[i].inheritable = sets[i].permitted;
	if (syscall(SYS_capset, &header, sets) != 0)
		fail(SCRIPT ": set capabilities");
	for (int i = 0; i < 64; i++)
		if ((sets[i / 32].permitted >> (i % 32)) & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) != 0)
			fail(SCRIPT ": hand capabilities on");
}
#endif

int main(int count, char **words)
{
	const char *settings[] = { SETTINGS };
	char *command[64] = { NODE, FLAGS, SCRIPT };
	int at = 0;

#ifdef HANDS_ON_CAPABILITIES
	hand_on_capabilities();
#endif
	for (unsigned int i = 0; i < sizeof(settings) / sizeof(settings[0]); i += 2)
		if (setenv(settings[i], settings[i + 1], 0) != 0)
			fail(SCRIPT ": set the environment");
	while (command[at] != NULL)
		at++;
	for (int i = 1; i < count && at < 63; i++)
		command[at++] = words[i];
	execv(command[0], command);
	fail(SCRIPT ": run " NODE);
}
