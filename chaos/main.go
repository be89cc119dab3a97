// Command chaos runs the fan-out under injected faults and audits what became of each event.
package main

func main() {}
