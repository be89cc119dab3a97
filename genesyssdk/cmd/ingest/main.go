// Command ingest is the main module's, with the Genesys API asked through the
// official Genesys SDK. Settings and behaviour are the same.
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
