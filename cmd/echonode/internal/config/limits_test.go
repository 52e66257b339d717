package config

import (
	"strings"
	"testing"
)

// Numbers that nobody means are refused by their key; those at the limit, and zero
// where it has a meaning, are not.
func TestLimits(t *testing.T) {
	for text, key := range map[string]string{
		"dicom: {max_associations: 100000}":           "dicom.max_associations",
		"dicom: {max_associations_per_peer: 5000}":    "dicom.max_associations_per_peer",
		"dicom: {max_associations_per_network: 5000}": "dicom.max_associations_per_network",
		"dicom: {max_object: 4KiB}":                   "dicom.max_object",
		"dicom: {max_object: 2TiB}":                   "dicom.max_object",
		"dicom: {idle_timeout: 60ns}":                 "dicom.idle_timeout",
		"memory: {budget: 320TiB}":                    "memory.budget",
		"storage: {database_wait: 60ns}":              "storage.database_wait",
		"storage: {retention: 2000000h}":              "storage.retention",
		"storage: {retention_failed: 1ms}":            "storage.retention_failed",
		"storage: {objects: {s3: {timeout: 30us}}}":   "storage.objects.s3.timeout",
		"study: {idle: 30us}":                         "study.idle",
		"study: {cap: 30000h}":                        "study.cap",
		"analysis: {workers: 100000}":                 "analysis.workers",
		"analysis: {device: 4711}":                    "analysis.device",
		"analysis: {max_frames: 2000000}":             "analysis.max_frames",
		"analysis: {max_pixels: 2000000000000}":       "analysis.max_pixels",
		"analysis: {attempts: 3000}":                  "analysis.attempts",
		"analysis: {start_limit: 5ms}":                "analysis.start_limit",
		"analysis: {object_timeout: 10000h}":          "analysis.object_timeout",
		"analysis: {timeout: 1us}":                    "analysis.timeout",
		"analysis: {retry_for: 72000h}":               "analysis.retry_for",
		"delivery: {attempts: 1000000}":               "delivery.attempts",
		"delivery: {retry_first: 30us}":               "delivery.retry_first",
		"delivery: {retry_max: 1000h}":                "delivery.retry_max",
		"delivery: {timeout: 60ms}":                   "delivery.timeout",
		"review: {session_idle: 30us}":                "review.session_idle",
		"review: {session_max: 12000h}":               "review.session_max",
		"destinations: [{name: pacs, address: \"a:104\", ae_title: A, ask_wait: 100h}]": "destinations.pacs.ask_wait",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), key+": ") || !strings.Contains(err.Error(), "can be meant") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"storage: {min_free: 9EiB}":                                    "more than can be meant",
		"memory: {budget: 18446744073709551615}":                       "more than can be meant",
		"study: {idle: 5s}\n---\nstudy: {idle: 6s}\n":                  "[3:",
		"# a comment\n---\nstudy: {idle: 5s}\n---\nlog: {level: info}": "second document",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		"# everything is a comment\n#study:\n#  idle: 5s\n", "---\n# nothing\n", "---\nstudy: {idle: 5s}\n", "study: {idle: 5s}\n---\n", "\n",
		"analysis: {workers: 1024}", "dicom: {max_associations: 4096}", "storage: {retention: 0s, retention_failed: 0s}", "analysis: {retry_for: 0s}",
		"dicom: {max_object: 64KiB}", "study: {idle: 168h, cap: 720h}", "memory: {budget: 64MiB}",
	} {
		if _, err := Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
