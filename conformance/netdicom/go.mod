module github.com/echonode/echonode/conformance/netdicom

go 1.26.0

replace github.com/echonode/echonode => ../..

replace github.com/grailbio/go-dicom => github.com/grailbio/go-dicom v0.0.0-20211105193521-b0e216a1c5cd

require (
	github.com/echonode/echonode v0.0.0
	github.com/grailbio/go-dicom v0.0.0
	github.com/grailbio/go-netdicom v0.0.0-20211105192932-7caf23f3f5be
)

require (
	github.com/gobwas/glob v0.0.0-20170212200151-51eb1ee00b6d // indirect
	golang.org/x/text v0.44.0 // indirect
)
