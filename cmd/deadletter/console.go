package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// console is the input and the outputs of the command.
type console struct {
	in          io.Reader
	out, err    io.Writer
	interactive bool // somebody can answer a question: in is a terminal
	outWidth    int  // columns of out; 0 if out is not a terminal
	errTerminal bool // err is a terminal, so that a progress bar can be drawn
	errWidth    int  // columns of err, if it is a terminal
}

func standardConsole() console {
	c := console{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	c.interactive = term.IsTerminal(int(os.Stdin.Fd()))
	c.errTerminal = term.IsTerminal(int(os.Stderr.Fd()))
	if fd := int(os.Stdout.Fd()); term.IsTerminal(fd) {
		c.outWidth = widthOf(fd)
	}
	if c.errTerminal {
		c.errWidth = widthOf(int(os.Stderr.Fd()))
	}
	return c
}

// widthOf returns the number of columns of a terminal, or 80 if it is unknown.
func widthOf(fd int) int {
	if width, _, err := term.GetSize(fd); err == nil && width > 0 {
		return width
	}
	return 80
}

// requireConfirmable adds a problem if the command has to ask for confirmation and cannot.
func (i *invocation) requireConfirmable(yes bool, cure string) {
	if !yes && !i.console.interactive {
		i.problems.Add("--yes", "is not given, and there is no terminal to ask on", cure)
	}
}

// confirm asks a question and returns whether the answer is yes. The end of the input and a
// signal mean no.
func (i *invocation) confirm(ctx context.Context, question string) bool {
	_, _ = fmt.Fprintf(i.console.err, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(i.console.in).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case text := <-answer:
		return text == "y" || text == "yes"
	case <-ctx.Done():
		_, _ = fmt.Fprintln(i.console.err)
		return false
	}
}
