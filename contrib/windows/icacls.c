/* Stands in for Windows' own icacls, of which wine 8 has the name only: adds its arguments to C:\icacls.log, and fails for
   a file that is not there. */
#include <stdio.h>
#include <windows.h>

int main(int argc, char **argv) {
    FILE *log = fopen("C:\\icacls.log", "a");
    char line[4096] = "", *end = line;
    if (!log || argc < 2) return 9;
    for (int at = 1; at < argc && end < line + sizeof line - 1024; at++)
        end += snprintf(end, 1024, "%s|", argv[at]);
    fprintf(log, "%s\n", line);
    return fclose(log) || GetFileAttributesA(argv[1]) == INVALID_FILE_ATTRIBUTES;
}
