/* Stands in for Windows' own ssh: starts its ProxyCommand as that ssh does, without a shell, and lets it have stdin and
   stdout. Ends with status 7 after a proxy command that ended well. */
#include <stdio.h>
#include <string.h>
#include <windows.h>

static const char *option(int argc, char **argv, const char *name) {
    for (int at = 1; at < argc; at++)
        if (!strncmp(argv[at], name, strlen(name))) return argv[at] + strlen(name);
    return "";
}

int main(int argc, char **argv) {
    char line[8192] = "", *end = line;
    for (int at = 1; at < argc; at++) {
        if (!strcmp(argv[at], "-V")) return fprintf(stderr, "OpenSSH_for_Windows_9.5p1, a stand-in\n") < 0;
        if (!strcmp(argv[at], "-G")) return 0;
    }
    for (const char *from = option(argc, argv, "ProxyCommand="); *from && end < line + sizeof line - 512; from++) {
        const char *text = NULL;
        if (*from == '%')
            switch (*++from) {
            case 'h': text = option(argc, argv, "HostName="); break;
            case 'p': text = "22"; break;
            }
        if (text)
            end += snprintf(end, 512, "%s", text);
        else
            *end++ = *from;
    }
    STARTUPINFOA start = {.cb = sizeof start};
    PROCESS_INFORMATION process;
    DWORD status;
    if (!CreateProcessA(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &start, &process)) {
        fprintf(stderr, "cannot run %s\n", line);
        return 9;
    }
    WaitForSingleObject(process.hProcess, INFINITE);
    return GetExitCodeProcess(process.hProcess, &status) && status == 0 ? 7 : 8;
}
