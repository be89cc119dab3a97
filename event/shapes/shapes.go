// Package shapes contains sample messages: one for each topic family of Genesys Cloud's
// events and for each form in which they arrive. Their ids and texts are invented. Tests
// read them, and package contactcentre generates its events from them.
//
// The name of a file begins with the format of the message as package event names it,
// followed by the last part of the topic or by the service that wrapped the event.
package shapes

import "embed"

// Files contains the messages.
//
//go:embed *.json
var Files embed.FS
