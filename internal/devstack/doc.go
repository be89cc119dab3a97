// Package devstack runs the parts that the fan-out talks to, for the demo, the end-to-end tests and
// the benchmarks: Kafka brokers, Temporal servers, HTTP targets, stand-ins for the APIs of Genesys
// Cloud and of an identity provider, and the built binaries of this project.
//
// The package does not use containers. It listens and connects on loopback only. It leaves no
// process behind: a part that it starts ends with the part's Close, and on Linux also when the
// process that started it ends.
//
// Each part can fail on request. Stop begins an outage and Start ends it, on the same address and
// with the same data. Silence keeps the connections open and answers nothing, until EndSilence.
//
// # Files
//
// Kafka:
//   - kafka.go: [StartKafka], its options, outages, new certificates
//   - kafkakfake.go, kafkakfakesasl.go: the broker in memory (kfake), and how it checks credentials
//   - kafkaapache.go: Apache Kafka on the Java of this machine
//   - kafkacertificates.go: the broker's certificate, valid or not
//   - kafkaclient.go: the admin client of this package
//   - kafkaproduce.go: messages, transactions, a damaged batch
//   - kafkatopics.go: topics, retention, compaction
//   - kafkagroups.go: what consumer groups have committed, and their members
//   - kafkausers.go: passwords and ACLs
//   - tokenendpoint.go: [StartTokenEndpoint], OAUTHBEARER tokens for a broker
//
// Temporal:
//   - temporal.go: [StartTemporal], the dev server of the Temporal CLI
//   - temporalpostgres.go: [StartTemporalOnPostgres], a Temporal server on PostgreSQL
//   - postgres.go: the PostgreSQL server below it
//   - temporalproxy.go: [StartTemporalProxy], which rejects or withholds calls to Temporal
//
// Other parts:
//   - target.go: [StartTarget], an HTTP target that answers by a script
//   - genesys.go, genesysintegrations.go: [StartGenesys], a stand-in for the API of Genesys Cloud
//   - process.go, processhttp.go, processusage.go: [StartProcess], an operating-system process; its
//     health and metrics; its memory and processor time
//
// Shared by the parts: listener.go (a listener that simulates outages), httpserver.go, port.go (free
// ports), wait.go, tools.go (the paths of the pinned tools).
//
// Package fixture, in the folder fixture, builds on these parts: it runs the workers in the process of a
// test.
package devstack
