// Command ingest is the ingest of the main module, except that it sends its requests
// to the Genesys API with the official Genesys SDK. Settings and behaviour are the same.
package main

import (
	"os"

	"genesys-fanout/genesys"
	"genesys-fanout/genesyssdk"
	"genesys-fanout/internal/app/ingest"
	"genesys-fanout/internal/process"
)

func main() {
	newSource := func(o genesys.Options) (genesys.Source, error) { return genesyssdk.New(o) }
	os.Exit(process.Main(ingest.Name, ingest.Command(newSource)))
}
