// Package models runs the network of EchoNode: it turns gray frames into masks of the left heart, keypoint heatmaps and
// view probabilities. It knows tensors and gray pixels, not DICOM and not studies.
//
// # Contract of a model file
//
// A model is one ONNX file, shipped or dropped in by a site. Contract 1 asks for
//
//	input   frames    uint8    [N, 1, H, W]      gray 0..255, letterboxed (see Letterbox); H and W fixed, divisible by 32
//	output  mask      uint8    [N, C, H/2, W/2]  probability x 255 of each class; cell (i, j) has its centre at input
//	                                             pixel (2i+0.5, 2j+0.5)
//	output  heatmaps  float32  [N, K, H/4, W/4]  peak maps of the keypoints in 0..1; cell centres at 4i+1.5
//	output  view      float32  [N, V]            probabilities of the views, sum 1
//	output  extras    float32  [N, E]            further values per frame; only if the card names E of them in "extras"
//	metadata "echonode.card"                     JSON, see Card; names the C classes, K keypoints, V views and E extras in order
//
// N is dynamic; normalisation and activations are part of the graph. Open refuses a file that does not fulfil this and
// names everything that is off (ContractError), and it runs a self-test before an engine is handed out.
//
// # Engines
//
// Open returns an Engine for one of the providers cpu, cuda, tensorrt (ONNX Runtime in this process) and remote (a
// server that speaks the Open Inference Protocol, KServe v2, over HTTP). Engines are safe for concurrent use.
//
// On the CPU every frame is a batch of its own, the same frame always gives the same bits, alone or under load, and
// the frames of one call are spread over the workers. On a GPU the frames of all callers are gathered into batches of
// fixed sizes; results may then differ in the last bits from one batch size to another. TensorRT computes in
// fp16.
//
// CUDA was run on one card, an NVIDIA H200 with driver 580, CUDA 13 and cuDNN 9 (gpu_test.go, `make test-gpu`): against
// the CPU 139 of 146,831 mask cells within a structure changed sides, no mask value by more than 2 of 255. With the
// card's memory nearly used up by another process the engine went to smaller batches; the CPU's taking over after that
// was seen with a stand-in device only. TensorRT follows the ONNX Runtime documentation, is tested with a stand-in
// device, and has not been run.
//
// # State
//
// The ONNX Runtime binding keeps one environment per process. It is shared by all engines and counted (see library.go);
// it is the only state of this package.
package models
