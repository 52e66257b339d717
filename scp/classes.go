package scp

import "github.com/echonode/echonode/dicomio/uid"

// DefaultTransferSyntaxes are the syntaxes in which storage objects are taken:
// all that put the whole object on the wire, from uncompressed to HEVC. The
// JPIP referenced syntaxes are left out because their pixels are elsewhere.
func DefaultTransferSyntaxes() []string {
	var out []string
	for s := range uid.Syntaxes() {
		out = append(out, s.UID)
	}
	return out
}

// DefaultStorageClasses are the SOP classes an echocardiography node meets:
// ultrasound (current and retired), secondary capture, structured reports,
// segmentations, presentation states, waveforms, raw data, photographs and
// encapsulated documents.
func DefaultStorageClasses() []string {
	return []string{
		uid.UltrasoundImageStorage,
		uid.UltrasoundMultiFrameImageStorage,
		uid.UltrasoundImageStorageRetired,
		uid.UltrasoundMultiFrameImageStorageRetired,
		uid.EnhancedUSVolumeStorage,
		uid.SecondaryCaptureImageStorage,
		uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
		uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
		uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
		uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
		uid.TextSRStorageTrial,
		uid.AudioSRStorageTrial,
		uid.DetailSRStorageTrial,
		uid.ComprehensiveSRStorageTrial,
		uid.BasicTextSRStorage,
		uid.EnhancedSRStorage,
		uid.ComprehensiveSRStorage,
		uid.Comprehensive3DSRStorage,
		uid.ExtensibleSRStorage,
		uid.ProcedureLogStorage,
		uid.MammographyCADSRStorage,
		uid.KeyObjectSelectionDocumentStorage,
		uid.ChestCADSRStorage,
		uid.XRayRadiationDoseSRStorage,
		uid.RadiopharmaceuticalRadiationDoseSRStorage,
		uid.ColonCADSRStorage,
		uid.ImplantationPlanSRStorage,
		uid.AcquisitionContextSRStorage,
		uid.SimplifiedAdultEchoSRStorage,
		uid.PatientRadiationDoseSRStorage,
		uid.PlannedImagingAgentAdministrationSRStorage,
		uid.PerformedImagingAgentAdministrationSRStorage,
		uid.EnhancedXRayRadiationDoseSRStorage,
		uid.SegmentationStorage,
		uid.SurfaceSegmentationStorage,
		uid.LabelMapSegmentationStorage,
		uid.GrayscaleSoftcopyPresentationStateStorage,
		uid.ColorSoftcopyPresentationStateStorage,
		uid.PseudoColorSoftcopyPresentationStateStorage,
		uid.BlendingSoftcopyPresentationStateStorage,
		uid.XAXRFGrayscaleSoftcopyPresentationStateStorage,
		uid.GrayscalePlanarMPRVolumetricPresentationStateStorage,
		uid.CompositingPlanarMPRVolumetricPresentationStateStorage,
		uid.AdvancedBlendingPresentationStateStorage,
		uid.VolumeRenderingVolumetricPresentationStateStorage,
		uid.SegmentedVolumeRenderingVolumetricPresentationStateStorage,
		uid.MultipleVolumeRenderingVolumetricPresentationStateStorage,
		uid.VariableModalityLUTSoftcopyPresentationStateStorage,
		uid.EncapsulatedPDFStorage,
		uid.EncapsulatedCDAStorage,
		uid.EncapsulatedSTLStorage,
		uid.TwelveLeadECGWaveformStorage,
		uid.GeneralECGWaveformStorage,
		uid.AmbulatoryECGWaveformStorage,
		uid.General32bitECGWaveformStorage,
		uid.HemodynamicWaveformStorage,
		uid.CardiacElectrophysiologyWaveformStorage,
		uid.BasicVoiceAudioWaveformStorage,
		uid.GeneralAudioWaveformStorage,
		uid.ArterialPulseWaveformStorage,
		uid.RespiratoryWaveformStorage,
		uid.MultichannelRespiratoryWaveformStorage,
		uid.RawDataStorage,
		uid.SpatialRegistrationStorage,
		uid.SpatialFiducialsStorage,
		uid.DeformableSpatialRegistrationStorage,
		uid.RealWorldValueMappingStorage,
		uid.VLPhotographicImageStorage,
		uid.VideoPhotographicImageStorage,
	}
}

// DefaultStorageContexts pairs each of DefaultStorageClasses with all of
// DefaultTransferSyntaxes: what a [Server] without Contexts accepts. A client
// has to propose less than that; see [ContextsFor].
func DefaultStorageContexts() []PresentationContext {
	ts := DefaultTransferSyntaxes()
	classes := DefaultStorageClasses()
	out := make([]PresentationContext, len(classes))
	for i, c := range classes {
		out[i] = PresentationContext{AbstractSyntax: c, TransferSyntaxes: ts}
	}
	return out
}
