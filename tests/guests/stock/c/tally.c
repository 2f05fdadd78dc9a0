// A plain C program: counts the words of its standard input, or of the files that are named.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char** words;
static size_t count, room;

static void keep(const char* word) {
  if (count == room) {
    room = room != 0 ? room * 2 : 16;
    words = realloc(words, room * sizeof *words);
    if (words == NULL) abort();
  }
  words[count++] = strdup(word);
}

static void read_words(FILE* file) {
  char word[64];
  size_t length = 0;
  for (int c = 0; c != EOF;) {
    c = fgetc(file);
    if (c != EOF && isalnum(c)) {
      if (length < sizeof word - 1) word[length++] = (char)tolower(c);
    } else if (length > 0) {
      word[length] = '\0';
      keep(word);
      length = 0;
    }
  }
}

static int by_text(const void* a, const void* b) {
  return strcmp(*(char* const*)a, *(char* const*)b);
}

int main(int argc, char** argv) {
  const char* prefix = getenv("PREFIX");
  for (int i = 1; i < argc; ++i) {
    FILE* file = fopen(argv[i], "r");
    if (file == NULL) {
      fprintf(stderr, "%s: %s: %s\n", argv[0], argv[i], strerror(errno));
      return 3;
    }
    read_words(file);
    fclose(file);
  }
  if (argc == 1) read_words(stdin);
  if (count > 0) qsort(words, count, sizeof *words, by_text);
  for (size_t i = 0, same = 1; i < count; i += same) {
    for (same = 1; i + same < count && strcmp(words[i], words[i + same]) == 0;) ++same;
    printf("%s%zu %s\n", prefix != NULL ? prefix : "", same, words[i]);
  }
  return ferror(stdout) ? 1 : 0;
}
