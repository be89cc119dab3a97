// Package shapes holds one message of each topic family and form in which Genesys
// Cloud's events come, with ids and words of our own. The tests read them, and
// package contactcentre makes its events of them.
//
// A file's name is the format, as package event calls it, and what it is: a
// topic's ending, or how it was wrapped.
package shapes

import "embed"

// Files are the messages.
//
//go:embed *.json
var Files embed.FS
