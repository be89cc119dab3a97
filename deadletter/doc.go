// Package deadletter stores the deliveries that were given up. Each one is a Record, a
// JSON file in the directory of the tracker. Several processes may share the directory.
//
// A record is open until its delivery succeeds (it moves to resolved/), the same delivery
// fails again (superseded/), or a user discards it (discarded/). Record, Resolve and Discard
// have fsynced their change when they return. A crash at any point leaves the open record,
// or its successor, or both.
//
// The package refuses to delete: only Closed.Delete removes a record, and only a closed one.
// It refuses to change a file that it cannot read, and to create the directory again while
// the process runs, because the directory may be a mount point whose file system is not
// mounted at the moment.
//
// The files of the package:
//
//	record.go     the fields of a record
//	payload.go    the message in a record, so that it comes back byte for byte
//	encoding.go   a record to the bytes of its file and back, and damaged files
//	tracker.go    open a tracker, its folders, and the names of its files
//	write.go      write an open record, with every fsync, and supersede an older one
//	resolve.go    close a record: resolve or discard it
//	lock.go       one writer at a time, across processes
//	check.go      whether the tracker can be written
//	read.go       read one record or list the open ones
//	filter.go     choose among the open records
//	closed.go     list the closed records, and delete one
//	version.go    whether a record has changed, without reading it
//	count.go      count the open records by target and reason
//	targets.go    the list of targets, and which of them have an open record of an event
//	identity.go   the tracker's identity, and whether the directory is the tracker that was opened
package deadletter
