//go:build race

package scp

const raceEnabled = true
