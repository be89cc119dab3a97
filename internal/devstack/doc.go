// Package devstack runs the parts that the fan-out talks to, for the demo, the
// end-to-end tests and the benchmarks: a Temporal dev server, a Kafka broker, a
// stand-in for the Genesys API, scripted targets, and the built binaries.
//
// The package refuses to use containers, to listen or connect anywhere but on
// loopback, and to leave a process behind: what it starts ends with its Close,
// and on Linux with the process that started it.
package devstack
