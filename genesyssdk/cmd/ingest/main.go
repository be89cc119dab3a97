// Command ingest is the ingest of the main module, except that it sends its requests
// to the Genesys API with the official Genesys SDK. Settings and behaviour are the same.
package main

import (
	"os"

	"genesys-fanout/genesys"
	"genesys-fanout/genesyssdk"
	"genesys-fanout/ingest/command"
)

func main() {
	os.Exit(command.Main(func(o genesys.Options) (genesys.Source, error) { return genesyssdk.New(o) }))
}
