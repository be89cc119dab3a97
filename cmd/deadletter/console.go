package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// console is where the command reads and writes.
type console struct {
	in       io.Reader
	out, err io.Writer
	asks     bool // somebody can answer on in, and sees err
	width    int  // of out in columns; 0: it is no terminal
	draws    bool // err is a terminal
	columns  int  // of err, if it draws
}

func standardConsole() console {
	c := console{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	c.asks = term.IsTerminal(int(os.Stdin.Fd()))
	c.draws = term.IsTerminal(int(os.Stderr.Fd()))
	if fd := int(os.Stdout.Fd()); term.IsTerminal(fd) {
		c.width = columnsOf(fd)
	}
	if c.draws {
		c.columns = columnsOf(int(os.Stderr.Fd()))
	}
	return c
}

// columnsOf returns the width of a terminal.
func columnsOf(fd int) int {
	if width, _, err := term.GetSize(fd); err == nil && width > 0 {
		return width
	}
	return 80
}

// printable writes a text on one line for a terminal: what would move the cursor,
// change colours or turn the direction of writing stands there escaped.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// oneLine is printable, with white space of any length as one blank.
func oneLine(s string) string { return printable(strings.Join(strings.Fields(s), " ")) }

// shellWord quotes an argument for a POSIX shell; what cannot be printed takes
// bash, zsh or ksh.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.,:/@%+=", r))
	}
	switch {
	case s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0:
		return s
	case printable(s) == s:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	b.WriteString("$'")
	for _, c := range []byte(s) {
		switch {
		case c == '\'' || c == '\\':
			b.Write([]byte{'\\', c})
		case c < 0x20 || c >= 0x7F:
			b.Write([]byte{'\\', 'x', hex[c>>4], hex[c&15]})
		default:
			b.WriteByte(c)
		}
	}
	return b.String() + "'"
}

// jsonFor is JSON as it may reach the terminal: the same document, in which
// characters that encoding/json leaves alone and a terminal obeys are escaped.
// What is not for a terminal stays byte for byte.
func (c console) jsonFor(document []byte) []byte {
	if c.width == 0 {
		return document
	}
	harmless := func(r rune) bool { return unicode.IsPrint(r) || r == '\n' }
	var b strings.Builder
	for _, r := range string(document) {
		if harmless(r) {
			b.WriteRune(r)
			continue
		}
		// Beyond ASCII two escapes make one character, and none of those is obeyed.
		if r > 0xFFFF {
			b.WriteRune(r)
			continue
		}
		const hex = "0123456789abcdef"
		b.Write([]byte{'\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15]})
	}
	return []byte(b.String())
}

// asking notes a problem if the command has to ask and cannot.
func (i *invocation) asking(yes bool, cure string) {
	if !yes && !i.console.asks {
		i.problems.Add("--yes", "is not given, and there is no terminal to ask on", cure)
	}
}

// confirmed asks. The end of the input and a signal mean no.
func (i *invocation) confirmed(ctx context.Context, question string) bool {
	_, _ = fmt.Fprintf(i.console.err, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(i.console.in).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case word := <-answer:
		return word == "y" || word == "yes"
	case <-ctx.Done():
		_, _ = fmt.Fprintln(i.console.err)
		return false
	}
}
